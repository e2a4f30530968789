#!/usr/bin/env bash
# GRPO with ms-swift and the reward service: 1 epoch, batch 64 completions, G = 8, rate 1e-5, temperature 1, beta 0.04 (paper, App. C).
# usage: NPROC=8 AVOCADO_REWARDS=http://127.0.0.1:8101 bash grpo.sh SFT_CHECKPOINT ms-swift-grpo.jsonl OUT
# Before: avocado reward --port 8101 --judge URL --judge-model NAME
# Written for ms-swift 4; ms-swift 3 calls --tuner_type --train_type.
set -euo pipefail
checkpoint=$1 rows=$2 out=$3
gpus=${NPROC:-8}
here=$(cd "$(dirname "$0")" && pwd)
export USE_AUDIO_IN_VIDEO=1 ENABLE_AUDIO_OUTPUT=0 FPS=2 VIDEO_MAX_PIXELS=401408 VIDEO_TOTAL_PIXELS=20070400
NPROC_PER_NODE=$gpus swift rlhf --rlhf_type grpo \
  --model "$checkpoint" --model_type qwen2_5_omni --dataset "$rows" --output_dir "$out" \
  --external_plugins "$here/rewards_plugin.py" \
  --reward_funcs avocado_checklist avocado_dialogue avocado_length --reward_weights 1 1 1 \
  --tuner_type full --freeze_vit true --freeze_aligner false --freeze_llm false \
  --num_train_epochs 1 --learning_rate 1e-5 --num_generations 8 --temperature 1.0 --beta 0.04 --epsilon 0.2 \
  --loss_type grpo --per_device_train_batch_size 1 --gradient_accumulation_steps $((64 / gpus)) \
  --max_length 28672 --max_completion_length 4096 --use_vllm true --vllm_mode colocate \
  --torch_dtype bfloat16 --gradient_checkpointing true --attn_impl flash_attn --deepspeed zero3 \
  --save_strategy epoch --logging_steps 1 --log_completions true
