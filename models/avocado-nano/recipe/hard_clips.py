"""Keeps the clips of each shard whose sampled captions are not all perfect: GRPO learns nothing from a group of equal rewards.

usage: python hard_clips.py WEIGHTS.pt 'SHARDS/*.safetensors ...' DIRECTORY [--rewards URL] [--device cuda]
"""
import argparse
import json
import os

import torch
from safetensors import safe_open
from safetensors.torch import save_file

import pool
import prompts
import tokenizer as tk
from generate import generate
from grpo import TEMPERATURE, encode
from model import Thinker
from rewards import Rewards

SAMPLES, PERFECT, FEWEST = 2, 3.999, 4      # captions of each clip; R_C + R_D + R_L + R_P; clips that make a shard


@torch.no_grad()
def hard_ones(thinker, shard, made_of, service, device):
    """Numbers of the clips of which at least one sampled caption is not perfect."""
    grid = pool.grid_of(shard)
    with torch.autocast(device, torch.bfloat16):
        ids = generate(thinker, *encode(thinker, shard, grid, True), grid, prompts.AVOCADO[0], temperature=TEMPERATURE, copies=SAMPLES)
    references = [pool.reference_of(made) for made in made_of for _ in range(SAMPLES)]
    earned = service.of([tk.load().decode(row) for row in ids], [len(row) for row in ids], references)
    return sorted({k // SAMPLES for k, item in enumerate(earned) if item['total'] < PERFECT})


def keep(path, target, chosen):
    """Writes these clips of a shard as a shard."""
    with safe_open(path, 'pt') as file:
        arrays = {key: file.get_tensor(key)[chosen].contiguous() for key in file.keys()}
        made_of = json.loads(file.metadata()['scripts'])
    save_file(arrays, target, {'scripts': json.dumps([made_of[k] for k in chosen])})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('weights'), parser.add_argument('shards'), parser.add_argument('directory')
    parser.add_argument('--rewards', default='http://127.0.0.1:8100'), parser.add_argument('--device', default='cpu')
    options = parser.parse_args()
    os.makedirs(options.directory, exist_ok=True)
    thinker, service = Thinker().to(options.device), Rewards(options.rewards)
    thinker.load_state_dict(torch.load(options.weights, map_location=options.device)['model'])
    for path in pool.paths_of(options.shards):
        target = f'{options.directory}/{os.path.basename(path)}'
        if os.path.exists(target):
            continue
        shard, made_of = pool.read_shard(path, options.device)
        chosen = hard_ones(thinker, shard, made_of, service, options.device)
        print(f'{os.path.basename(path)}: {len(chosen)} of {len(made_of)}', flush=True)
        if len(chosen) >= FEWEST:
            keep(path, target, chosen)


if __name__ == '__main__':
    main()
