"""Produces training data: shards of clips of one geometry, with captions as tokens and dense targets.

usage: python shards.py BANK DIRECTORY FIRST_SEED SHARDS [--states] [--steps N ...] [--objects N] [--held-out] [--waiting N]
A shard is named by its steps and its seed, and the seed alone determines its contents. Existing shards are kept.
--states leaves drawing the frames to the reader (fast on a GPU). --waiting N: wait while N shards are unread.
"""
import argparse
import glob
import json
import os
import random
import time

import numpy as np
import torch
from safetensors.numpy import save_file

import answers
import features
import labels
import paint
import render
import script as scripts
import sound
import speech
import tokenizer as tk
import world

CLIPS, LONG_CLIPS, LONG = 256, 128, 9      # clips per shard; per shard of clips with LONG steps or more
LONG_SHARE, CROWDED_SHARE = 0.3, 0.25      # share of shards with long clips; with up to three objects
SEED_STEP = 1000                           # distance between the seeds of shards; clip k has the seed of its shard + k
AAC_BLOCK = 1024                           # samples; a decoded track is padded to whole blocks
PADS = {'on_ids': -1, 'off_ids': -1, 'on_see': answers.NOWHERE, 'off_see': answers.NOWHERE, 'on_hear': answers.NOWHERE, 'off_hear': answers.NOWHERE,
        'sounds': -1, 'states': 0, 'shapes': 0}


def make_clip(script, bank, tokenizer, states=True):
    """All training data of one clip, as numpy arrays."""
    times = np.array([k / script['fps'] for k in features.frame_indices(round(script['duration'] * script['fps']), script['fps'])])
    wave, spans = sound.soundtrack(script, bank)
    cells, homes = labels.cells_of(script, times)
    clip = dict(cells=cells, homes=homes, times=times, spans=spans)
    made = dict(wave=(np.pad(wave, (0, -len(wave) % AAC_BLOCK)) * 32767).astype(np.int16), cells=cells.astype(np.int8),
                scene=np.array(labels.scene_of(script), np.int16), sounds=np.array(labels.audio_of(script), np.int16))
    for name, on in (('on', True), ('off', False)):
        made |= {f'{name}_{part}': part_of for part, part_of in zip(('ids', 'see', 'hear'), answers.answer_of(script, tokenizer, clip, on))}
    if not states:
        frames = np.stack([render.frame_at(script, time) for time in times]).round()
        return dict(made, frames=features.resize(torch.from_numpy(frames)).numpy())
    return dict(made, states=paint.states_of(script, times), shapes=np.array([world.SHAPES.index(o['shape']) for o in script['objects']], np.int16))


def stack(arrays, pad):
    """Stacks arrays of different shapes, padded with `pad`."""
    shape = [max(sizes) for sizes in zip(*(a.shape for a in arrays))]
    out = np.full((len(arrays), *shape), pad, arrays[0].dtype)
    for row, a in zip(out, arrays):
        row[tuple(slice(n) for n in a.shape)] = a
    return out


def geometry_of(seed, steps=None):
    """The geometry that all clips of a shard share, so that they stack, and how many objects they have at most."""
    rng = random.Random(seed)
    long = rng.random() < LONG_SHARE
    steps = rng.choice(steps or (range(LONG, scripts.LATEST_STEP + 1) if long else (3, 4, 4, 5, 5, 6, 6, 7, 8)))
    return scripts.sample_geometry(rng, steps), 3 if rng.random() < CROWDED_SHARE else 2


def scripts_of(seed, lines, steps=None, objects=None):
    """The scripts of a shard."""
    geometry, most = geometry_of(seed, steps)
    count = CLIPS if scripts.steps_of(geometry['duration']) < LONG else LONG_CLIPS
    return [scripts.sample_script(seed + k, **geometry, most_objects=objects or most, lines=lines) for k in range(count)]


def write_shard(path, made_of, bank, tokenizer, states):
    """One safetensors file; the scripts are JSON in its header."""
    clips = [make_clip(script, bank, tokenizer, states) for script in made_of]
    arrays = {key: stack([clip[key] for clip in clips], PADS.get(key, 0)) for key in clips[0]}
    save_file(arrays, path + '.part', {'scripts': json.dumps(made_of)})
    os.rename(path + '.part', path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('bank'), parser.add_argument('directory'), parser.add_argument('seed', type=int), parser.add_argument('shards', type=int)
    parser.add_argument('--states', action='store_true'), parser.add_argument('--held-out', action='store_true')
    parser.add_argument('--steps', type=int, nargs='*'), parser.add_argument('--objects', type=int), parser.add_argument('--waiting', type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.makedirs(options.directory, exist_ok=True)
    bank, tokenizer = speech.Bank(options.bank), tk.load()
    for seed in range(options.seed, options.seed + options.shards * SEED_STEP, SEED_STEP):
        made_of = scripts_of(seed, bank.held_out if options.held_out else bank.trained, options.steps, options.objects)
        path = f'{options.directory}/{scripts.steps_of(made_of[0]["duration"]):02d}-{seed:09d}.safetensors'
        while options.waiting and len(glob.glob(f'{options.directory}/*.safetensors')) >= options.waiting:
            time.sleep(0.2)
        if not os.path.exists(path):
            write_shard(path, made_of, bank, tokenizer, options.states)


if __name__ == '__main__':
    main()
