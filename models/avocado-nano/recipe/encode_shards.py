"""Runs trained towers over shards once and keeps their outputs, so that the decoder can be trained without them, three times as fast.

usage: python encode_shards.py STATE.pt 'SHARDS/*.pkl ...' DIRECTORY [--threads N]
Existing files are kept; the noise differs from shard to shard and is the same every time.
"""
import argparse
import glob
import os
import pickle

import torch

import pool
import training
from model import Thinker


@torch.no_grad()
def encode(model, shard):
    """The shard with `seen` [clips, tokens, width] and `heard` in the place of its frames and log-mels."""
    batch = pool.take(shard, list(range(len(shard['script']))))
    with torch.autocast('cpu', torch.bfloat16):
        seen = model.look(training.noisy_patches(batch['frames']), batch['grid'])
        heard = model.audio_tower(training.noisy_mel(batch['mel']))
    kept = {key: value for key, value in shard.items() if key not in ('frames', 'mel')}
    return dict(kept, seen=seen.bfloat16(), heard=heard.bfloat16(), grid=batch['grid'])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('state'), parser.add_argument('shards'), parser.add_argument('directory')
    parser.add_argument('--threads', type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    os.makedirs(options.directory, exist_ok=True)
    model = Thinker()
    model.load_state_dict(torch.load(options.state)['model'])
    for path in sorted(path for pattern in options.shards.split() for path in glob.glob(pattern)):
        target = f'{options.directory}/{os.path.basename(path)}'
        if not os.path.exists(target):
            torch.manual_seed(int(os.path.basename(path)[3:-4]))
            with open(target + '.part', 'wb') as file:
                pickle.dump(encode(model.eval(), pool.read_shard(path)), file, 4)
            os.rename(target + '.part', target)


if __name__ == '__main__':
    main()
