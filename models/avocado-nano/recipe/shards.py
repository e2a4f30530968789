"""Produces training data: shards of clips of one geometry, in the form the towers read, with captions' scripts and dense targets.

usage: python shards.py BANK.npz DIRECTORY FIRST_SEED SHARDS [MOST_OBJECTS] [STEPS ...]
A shard is named by its steps and its seed, and the seed alone decides what is in it. Existing shards are kept.
"""
import os
import pickle
import random
import sys

import numpy as np
import torch

import features
import labels
import render
import script as scripts
import sound
import speech

CLIPS = 32                    # in a shard
SEED_STEP = 1000              # between the seeds of shards; clip k of a shard has the shard's seed + k
AAC_BLOCK = 1024              # samples; a decoded track is padded to whole blocks


def make_clip(script, bank):
    """Everything training needs of one clip, as numpy arrays."""
    total = round(script['duration'] * script['fps'])
    times = [index / script['fps'] for index in features.frame_indices(total, script['fps'])]
    frames = torch.from_numpy(np.stack([render.frame_at(script, time) for time in times])).round()
    wave, spans = sound.soundtrack(script, bank)
    wave = np.pad(wave, (0, -len(wave) % AAC_BLOCK))
    cells, homes = labels.cells_of(script, times)
    return dict(script=script, frames=features.resize(frames).numpy(), mel=features.log_mel(torch.from_numpy(wave)).half().numpy(),
                times=np.array(times, np.float32), spans=spans, cells=cells, homes=homes, scene=labels.scene_of(script),
                sounds=labels.audio_of(script))


def geometry_of(seed, steps=None):
    """The geometry that all clips of a shard share, so that they stack."""
    rng = random.Random(seed)
    return scripts.sample_geometry(rng, rng.choice(steps) if steps else None)


def make_shard(seed, bank, geometry, most_objects=2, clips=CLIPS, lines=None):
    """`clips` clips of one geometry."""
    settings = dict(geometry, most_objects=most_objects, lines=lines or bank.trained)
    made = [make_clip(scripts.sample_script(seed + k, **settings), bank) for k in range(clips)]
    stacked = {key: np.stack([clip[key] for clip in made]) for key in ('frames', 'mel', 'cells', 'scene')}
    return dict(stacked, geometry=geometry, **{key: [clip[key] for clip in made] for key in ('script', 'spans', 'homes', 'sounds', 'times')})


def main():
    bank, directory, first, count = speech.Bank(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    most_objects, steps = int(sys.argv[5]) if len(sys.argv) > 5 else 2, [int(s) for s in sys.argv[6:]]
    torch.set_num_threads(1)
    os.makedirs(directory, exist_ok=True)
    for seed in range(first, first + count * SEED_STEP, SEED_STEP):
        geometry = geometry_of(seed, steps)
        path = f'{directory}/{scripts.steps_of(geometry["duration"]):02d}-{seed:09d}.pkl'
        if not os.path.exists(path):
            with open(path + '.part', 'wb') as file:
                pickle.dump(make_shard(seed, bank, geometry, most_objects), file, 4)
            os.rename(path + '.part', path)


if __name__ == '__main__':
    main()
