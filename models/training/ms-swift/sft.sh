#!/usr/bin/env bash
# SFT with ms-swift: 2 epochs, batch 128, rate 2e-5; encoders frozen, adapters and language model trained (paper, App. C).
# usage: NPROC=8 bash sft.sh CHECKPOINT ms-swift-sft.jsonl OUT
# Written for ms-swift 4; ms-swift 3 calls --tuner_type --train_type.
set -euo pipefail
checkpoint=$1 rows=$2 out=$3
gpus=${NPROC:-8}
export USE_AUDIO_IN_VIDEO=1 ENABLE_AUDIO_OUTPUT=0 FPS=2 VIDEO_MAX_PIXELS=401408 VIDEO_TOTAL_PIXELS=20070400
NPROC_PER_NODE=$gpus swift sft \
  --model "$checkpoint" --model_type qwen2_5_omni --dataset "$rows" --output_dir "$out" \
  --tuner_type full --freeze_vit true --freeze_aligner false --freeze_llm false \
  --num_train_epochs 2 --learning_rate 2e-5 --lr_scheduler_type cosine --warmup_ratio 0.05 \
  --per_device_train_batch_size 1 --gradient_accumulation_steps $((128 / gpus)) \
  --max_length 32768 --torch_dtype bfloat16 --gradient_checkpointing true --attn_impl flash_attn --deepspeed zero3 \
  --save_strategy epoch --logging_steps 5
