"""Writes a trained state as a model package: the Hugging Face files (bf16 weights) and avocado.json.

usage: python export.py WEIGHTS.pt [DIRECTORY]      DIRECTORY defaults to the package of this recipe
"""
import json
import pathlib
import shutil
import sys

import torch
from safetensors.torch import save_file

import features
import tokenizer as tk
from model import Config, Thinker

PACKAGE = pathlib.Path(__file__).resolve().parents[1]      # its tokenizer, chat template and preprocessor settings are the same for every checkpoint
MOST_TOKENS = 256


def config_json(config):
    """config.json of a Qwen2.5-Omni thinker."""
    text = dict(model_type='qwen2_5_omni_text', hidden_size=config.width, intermediate_size=config.inner, num_hidden_layers=config.layers,
                num_attention_heads=config.heads, num_key_value_heads=config.kv_heads, vocab_size=config.vocabulary,
                max_position_embeddings=4096, rms_norm_eps=1e-6, rope_theta=config.rope_theta, hidden_act='silu', tie_word_embeddings=False,
                rope_scaling=dict(mrope_section=list(config.mrope_section), rope_type='default', type='default'),
                use_sliding_window=False, max_window_layers=config.layers)
    vision = dict(model_type='qwen2_5_omni_vision_encoder', depth=config.vision_layers, hidden_size=config.vision_width,
                  embed_dim=config.vision_width, intermediate_size=config.vision_inner, num_heads=config.vision_heads, in_channels=3,
                  patch_size=14, spatial_merge_size=2, temporal_patch_size=2, window_size=112, fullatt_block_indexes=list(config.vision_full),
                  hidden_act='silu', out_hidden_size=config.width, tokens_per_second=25)
    audio = dict(model_type='qwen2_5_omni_audio_encoder', num_mel_bins=128, d_model=config.audio_width, encoder_layers=config.audio_layers,
                 encoder_attention_heads=config.audio_heads, encoder_ffn_dim=config.audio_inner, activation_function='gelu', scale_embedding=False,
                 dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, max_source_positions=1500, n_window=100, output_dim=config.width)
    tokens = dict(audio_token_index=tk.AUDIO, image_token_index=tk.IMAGE, video_token_index=tk.VIDEO, audio_start_token_id=tk.AUDIO_START,
                  audio_end_token_id=tk.AUDIO_END, vision_start_token_id=tk.VISION_START, vision_end_token_id=tk.VISION_END,
                  eos_token_id=tk.END, pad_token_id=tk.PAD, bos_token_id=tk.START, user_token_id=tk.START)
    return dict(model_type='qwen2_5_omni_thinker', architectures=['Qwen2_5OmniThinkerForConditionalGeneration'], torch_dtype='bfloat16',
                position_id_per_seconds=25, seconds_per_chunk=2, **tokens, text_config=text, vision_config=vision, audio_config=audio)


def package_json():
    """avocado.json: the pixel limits of a frame and the maximum length of a caption. The prompts are AVoCaDO's, which the server has built in."""
    limits = dict(minPixels=features.MIN_PIXELS, maxPixels=features.MAX_PIXELS)
    processor = dict(processorMinPixels=features.MIN_PIXELS, processorMaxPixels=features.MAX_PIXELS)
    world = ('Clips of a small generated world: coloured shapes that move over plain or textured backgrounds, one on-screen word, seven '
             'sounds, short spoken lines; 3 to 16 s; 16:9, 1:1 and 9:16.')
    return dict(name='avocado-nano', profile=dict(name='nano', version=2, **limits, **processor), maxTokens=MOST_TOKENS, world=world)


def main():
    directory = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else PACKAGE
    directory.mkdir(parents=True, exist_ok=True)
    weights = torch.load(sys.argv[1], map_location='cpu')['model']
    Thinker().load_state_dict(weights)
    save_file({f'thinker.{name}': value.to(torch.bfloat16).contiguous() for name, value in weights.items()}, directory / 'model.safetensors',
              {'format': 'pt'})
    written = {'config': config_json(Config()), 'avocado': package_json(),
               'generation_config': dict(_from_model_config=True, eos_token_id=tk.END, pad_token_id=tk.PAD)}
    for name, content in written.items():
        (directory / f'{name}.json').write_text(json.dumps(content, indent=2) + '\n')
    if directory.resolve() != PACKAGE:
        for name in ('tokenizer.json', 'chat_template.json', 'preprocessor_config.json'):
            shutil.copyfile(PACKAGE / name, directory / name)


if __name__ == '__main__':
    main()
