"""Qwen2.5-Omni thinkers for training with transformers: loading, rows of a curated set as inputs, generation, saving.

Rows are those of `avocado curate --export ms-swift`: {"messages": [system, user with one <video>, assistant], "videos": [path]}.
Frames are chosen and sized by qwen-omni-utils' rules (reference-model.md, Frame sampling), so a model is trained on what it is served.
"""
import json
import math
import pathlib
import shutil
import subprocess
import types

import numpy as np
import torch
from transformers import AutoTokenizer, Qwen2_5OmniProcessor, Qwen2_5OmniThinkerForConditionalGeneration, WhisperFeatureExtractor

FACTOR, FPS = 28, 2.0
MIN_PIXELS, MAX_PIXELS, TOTAL_PIXELS = 128 * 28 * 28, 512 * 28 * 28, 25600 * 28 * 28      # paper, App. C and D.2
SAMPLE_RATE = 16000
NAMES = {f'{kind}_token': f'<|{kind.upper()}|>' for kind in ('audio', 'image', 'video')}
NAMES |= {f'{kind}_{end}_token': f'<|{kind}_{end}|>' for kind in ('vision', 'audio') for end in ('bos', 'eos')}
ADAPTERS = ('visual.merger', 'audio_tower.proj', 'audio_tower.ln_post')


def load(checkpoint, device, dtype):
    """(model, processor); encoders are frozen, adapters and language model are trained (paper, App. C)."""
    model = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(checkpoint, dtype=dtype).to(device)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(('visual.', 'audio_tower.')) or name.startswith(ADAPTERS))
    return model, Processor(checkpoint)


class Processor:
    """What turns a row into inputs: transformers' tokenizer, log-mels and layout, and our own frames, which need no torchvision."""

    def __init__(self, checkpoint):
        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        self.mels = WhisperFeatureExtractor.from_pretrained(checkpoint)
        self.settings = json.loads((pathlib.Path(checkpoint) / 'preprocessor_config.json').read_text())
        merge = types.SimpleNamespace(merge_size=2)
        self.layout = types.SimpleNamespace(image_processor=merge, video_processor=merge, **NAMES)
        self.media_ids = self.tokenizer.convert_tokens_to_ids(list(NAMES.values()))
        self.layout.get_chunked_index = lambda *told: Qwen2_5OmniProcessor.get_chunked_index(self.layout, *told)

    def __call__(self, text, frames, wave):
        pixels, grid = self.patches(sized(frames))
        inputs, lengths = dict(pixel_values_videos=pixels, video_grid_thw=grid, video_second_per_grid=torch.tensor([2 / FPS])), []
        if wave is not None:
            heard = self.mels([wave], sampling_rate=SAMPLE_RATE, padding='max_length', return_attention_mask=True, return_tensors='pt')
            inputs |= dict(input_features=heard['input_features'], feature_attention_mask=heard['attention_mask'])
            lengths = [(((int(heard['attention_mask'].sum()) - 1) // 2 + 1) - 2) // 2 + 1]
        text, = Qwen2_5OmniProcessor.replace_multimodal_special_tokens(self.layout, [text], iter(lengths), iter([]), iter(grid), iter([2 / FPS]),
                                                                      wave is not None, 25, 2)
        return dict(self.tokenizer(text, return_tensors='pt'), use_audio_in_video=wave is not None, **inputs)

    def patches(self, frames):
        """[patches, 1176] in the model's order and the grid [1, 3] of frames [n, 3, height, width], 0 to 255."""
        mean, std = (torch.tensor(self.settings[f'image_{name}'])[:, None, None] for name in ('mean', 'std'))
        steps, rows, columns = len(frames) // 2, frames.shape[2] // 14, frames.shape[3] // 14
        blocks = ((frames / 255 - mean) / std).view(steps, 2, 3, rows // 2, 2, 14, columns // 2, 2, 14)
        return blocks.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(steps * rows * columns, -1), torch.tensor([[steps, rows, columns]])


def rows_of(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines() if line.strip()]


def read_clip(path):
    """(frames uint8 [n, 3, height, width] of the sampled times, mono sound at 16 kHz or None)."""
    probed = subprocess.run(['ffprobe', '-v', 'error', '-count_packets', '-show_streams', '-of', 'json', path], capture_output=True, check=True)
    streams = {stream['codec_type']: stream for stream in reversed(json.loads(probed.stdout)['streams'])}
    video, decode = streams['video'], ['ffmpeg', '-v', 'error', '-i', path]
    raw = subprocess.run([*decode, '-map', '0:v:0', '-fps_mode', 'passthrough', '-f', 'rawvideo', '-pix_fmt', 'rgb24', '-'],
                         capture_output=True, check=True).stdout
    frames = torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(-1, video['height'], video['width'], 3).permute(0, 3, 1, 2)
    over, under = map(int, video['avg_frame_rate'].split('/'))
    total = len(frames)
    count = math.floor(min(max(total / (over / under) * FPS, 4), total) / 2) * 2
    chosen = frames[torch.linspace(0, total - 1, count).round().long()]
    if 'audio' not in streams:
        return chosen, None
    raw = subprocess.run([*decode, '-map', '0:a:0', '-ac', '1', '-ar', str(SAMPLE_RATE), '-f', 's16le', '-'], capture_output=True, check=True).stdout
    return chosen, np.frombuffer(raw, np.int16).astype(np.float32) / 32768


def smart_size(height, width, least, most):
    """Both sides as multiples of 28, their product between the limits."""
    high, wide = (max(FACTOR, round(side / FACTOR) * FACTOR) for side in (height, width))
    if high * wide > most:
        shrink = math.sqrt(height * width / most)
        high, wide = (max(FACTOR, math.floor(side / shrink / FACTOR) * FACTOR) for side in (height, width))
    elif high * wide < least:
        grow = math.sqrt(least / (height * width))
        high, wide = (math.ceil(side * grow / FACTOR) * FACTOR for side in (height, width))
    return high, wide


def sized(frames):
    most = max(min(MAX_PIXELS, TOTAL_PIXELS / len(frames) * 2), int(MIN_PIXELS * 1.05))
    size = smart_size(*frames.shape[2:], MIN_PIXELS, most)
    return torch.nn.functional.interpolate(frames.float(), size, mode='bicubic', antialias=True).clamp(0, 255).round()


def inputs_of(row, processor, told):
    """Model inputs of a row. `told`: with the assistant's turn, and `labels` for it; otherwise up to where the model answers."""
    frames, wave = read_clip(row['videos'][0])
    turns = [turn for turn in row['messages'] if turn['role'] != 'assistant']
    prompt = processor.tokenizer.apply_chat_template([_message(turn) for turn in turns], add_generation_prompt=True, tokenize=False)
    answer = next((turn['content'] for turn in row['messages'] if turn['role'] == 'assistant'), '') if told else ''
    text = f'{prompt}{answer}<|im_end|>\n' if told else prompt
    inputs = processor(text, frames, wave)
    if told:
        head = len(processor.tokenizer(prompt)['input_ids'])
        tail = len(processor.tokenizer(text)['input_ids']) - head
        labels = inputs['input_ids'].clone()
        labels[:, :-tail] = -100
        inputs['labels'] = labels
    return inputs


def _message(turn):
    if '<video>' not in turn['content']:
        return dict(role=turn['role'], content=[dict(type='text', text=turn['content'])])
    before, after = turn['content'].split('<video>')
    parts = [dict(type='text', text=before), dict(type='video', video=''), dict(type='text', text=after)]
    return dict(role=turn['role'], content=[part for part in parts if part.get('text') != ''])


def on(inputs, device, dtype):
    """Inputs on a device; pixels and log-mels in the model's type."""
    moved = {}
    for name, value in inputs.items():
        if torch.is_tensor(value):
            value = value.to(device, dtype) if value.is_floating_point() and name in ('pixel_values_videos', 'input_features') else value.to(device)
        moved[name] = value
    return moved


def save(model, checkpoint, out):
    """A checkpoint directory that `avocado --model` takes: the trained weights with the files of the one it began with."""
    out = pathlib.Path(out)
    model.save_pretrained(out, max_shard_size='5GB')
    for path in pathlib.Path(checkpoint).iterdir():
        if path.suffix in ('.json', '.txt', '.jinja') and not path.name.endswith('.safetensors.index.json'):
            shutil.copyfile(path, out / path.name)
