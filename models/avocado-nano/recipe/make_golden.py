"""Makes test/fixtures/nano: what the original implementation (transformers 5.18) computes for some sample clips with the bundled weights, in fp32.

usage: python make_golden.py DIRECTORY [CLIP ...]
Writes CLIP.json (prompt and greedy tokens, caption) and CLIP.safetensors (logits of the first steps). Media are read with ffmpeg, sampled and
resized by qwen-omni-utils' rules, in torch; the features, the prompt's layout, the positions and the model are transformers' own.
"""
import json
import math
import pathlib
import subprocess
import sys
import types

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import (PreTrainedTokenizerFast, Qwen2_5OmniProcessor, Qwen2_5OmniThinkerConfig, Qwen2_5OmniThinkerForConditionalGeneration,
                          WhisperFeatureExtractor)

import prompts

PACKAGE = pathlib.Path(__file__).resolve().parents[1]
CLIPS = ('portrait-5s', 'no-sound-6s', 'long-10s', 'odd-6.7s')
STEPS = 4                                 # of which the logits are kept
FACTOR, FPS = 28, 2.0
NAMES = {f'{kind}_token': f'<|{kind.upper()}|>' for kind in ('audio', 'image', 'video')}
NAMES |= {f'{kind}_{end}_token': f'<|{kind}_{end}|>' for kind in ('vision', 'audio') for end in ('bos', 'eos')}


def read(path):
    """(every frame uint8 [n, 3, height, width], frames a second, 16 kHz mono or None)."""
    probed = subprocess.run(['ffprobe', '-v', 'error', '-show_streams', '-of', 'json', path], capture_output=True, check=True).stdout
    streams = {stream['codec_type']: stream for stream in json.loads(probed)['streams']}
    video, decode = streams['video'], ['ffmpeg', '-v', 'error', '-i', path]
    raw = subprocess.run([*decode, '-fps_mode', 'passthrough', '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-'], capture_output=True, check=True).stdout
    frames = torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(-1, video['height'], video['width'], 3).permute(0, 3, 1, 2)
    rate, over = map(int, video['avg_frame_rate'].split('/'))
    if 'audio' not in streams:
        return frames, rate / over, None
    assert streams['audio']['sample_rate'] == '16000' and streams['audio']['channels'] == 1, 'it would have to be resampled'
    raw = subprocess.run([*decode, '-f', 's16le', '-'], capture_output=True, check=True).stdout
    return frames, rate / over, np.frombuffer(raw, np.int16).astype(np.float32) / 32768


def patches_of(frames, fps, settings):
    """pixel_values_videos and video_grid_thw of the sampled frames."""
    total, (height, width) = len(frames), frames.shape[2:]
    count = math.floor(min(max(total / fps * FPS, 4), total) / 2) * 2
    chosen = frames[torch.linspace(0, total - 1, count).round().long()].float()
    high, wide = (max(FACTOR, round(side / FACTOR) * FACTOR) for side in (height, width))
    if high * wide > settings['max_pixels']:
        shrink = math.sqrt(height * width / settings['max_pixels'])
        high, wide = (math.floor(side / shrink / FACTOR) * FACTOR for side in (height, width))
    small = torch.nn.functional.interpolate(chosen, (high, wide), mode='bicubic', antialias=True).clamp(0, 255).round()
    mean, std = (torch.tensor(settings[f'image_{name}'])[:, None, None] for name in ('mean', 'std'))
    steps, rows, columns = count // 2, high // 14, wide // 14
    blocks = ((small / 255 - mean) / std).view(steps, 2, 3, rows // 2, 2, 14, columns // 2, 2, 14)
    return blocks.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(steps * rows * columns, -1), torch.tensor([[steps, rows, columns]])


def inputs_of(path, tokenizer, settings):
    """All inputs of the model for a clip."""
    frames, fps, wave = read(path)
    pixels, grid = patches_of(frames, fps, settings)
    inputs, lengths = dict(pixel_values_videos=pixels, video_grid_thw=grid, video_second_per_grid=torch.tensor([2 / FPS])), []
    if wave is not None:
        heard = WhisperFeatureExtractor.from_pretrained(PACKAGE)([wave], sampling_rate=16000, padding='max_length', return_attention_mask=True,
                                                                 return_tensors='pt')
        inputs |= dict(input_features=heard['input_features'], feature_attention_mask=heard['attention_mask'])
        lengths = [(int(heard['attention_mask'].sum()) + 1) // 4]
    messages = [dict(role='system', content=[dict(type='text', text=prompts.SYSTEM)]),
                dict(role='user', content=[dict(type='video'), dict(type='text', text=prompts.AVOCADO[0])])]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    merge = types.SimpleNamespace(merge_size=2)
    layout = types.SimpleNamespace(image_processor=merge, video_processor=merge, **NAMES)
    layout.get_chunked_index = lambda *told: Qwen2_5OmniProcessor.get_chunked_index(layout, *told)
    text, = Qwen2_5OmniProcessor.replace_multimodal_special_tokens(layout, [text], iter(lengths), iter([]), iter(grid), iter([2 / FPS]),
                                                                  wave is not None, 25, 2)
    return dict(tokenizer(text, return_tensors='pt'), use_audio_in_video=wave is not None, **inputs)


def load():
    """The exported package as a transformers model."""
    config = {key: value for key, value in json.loads((PACKAGE / 'config.json').read_text()).items() if key != 'torch_dtype'}
    model = Qwen2_5OmniThinkerForConditionalGeneration._from_config(Qwen2_5OmniThinkerConfig(**config), dtype=torch.float32).eval()
    stored = load_file(PACKAGE / 'model.safetensors')
    model.load_state_dict({name.removeprefix('thinker.'): value.float() for name, value in stored.items()}, strict=True)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = config['eos_token_id'], config['pad_token_id']
    return model


@torch.no_grad()
def main():
    directory, settings, model = pathlib.Path(sys.argv[1]), json.loads((PACKAGE / 'preprocessor_config.json').read_text()), load()
    template = json.loads((PACKAGE / 'chat_template.json').read_text())['chat_template']
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(PACKAGE / 'tokenizer.json'), chat_template=template)
    directory.mkdir(parents=True, exist_ok=True)
    for clip in sys.argv[2:] or CLIPS:
        inputs = inputs_of(str(PACKAGE / f'examples/{clip}.mp4'), tokenizer, settings)
        written = model.generate(**inputs, do_sample=False, max_new_tokens=256, return_dict_in_generate=True, output_logits=True)
        prompt = inputs['input_ids'][0].tolist()
        tokens = written.sequences[0, len(prompt):].tolist()
        logits = torch.cat(written.logits).float()
        best = logits.topk(2).values
        told = dict(prompt=prompt, tokens=tokens, caption=tokenizer.decode(tokens, skip_special_tokens=True),
                    smallest_margin=float((best[:, 0] - best[:, 1]).min()))
        (directory / f'{clip}.json').write_text(json.dumps(told) + '\n')
        save_file(dict(logits=logits[:STEPS].contiguous()), directory / f'{clip}.safetensors')
        print(clip, len(prompt), len(tokens), told['smallest_margin'], told['caption'])


if __name__ == '__main__':
    main()
