"""Training batches from shards: each is read once and kept in device memory; batches are drawn at random while more shards arrive."""
import glob
import json
import os
import threading
import time

import torch
from safetensors import safe_open

import caption
import features
import hard
import paint


def read_shard(path, device='cpu', choose=None):
    """(inputs and targets of the model as tensors on `device`; the scripts).

    `choose` receives the number of clips and returns the wanted ones; the others are not drawn.
    """
    with safe_open(path, 'pt', device=str(device)) as file:
        if 'clips' in file.metadata():
            return hard.read_shard(file, device, choose)
        made_of = json.loads(file.metadata()['scripts'])
        shard = {key: file.get_tensor(key) for key in file.keys()}
    if choose:
        chosen = choose(len(made_of))
        shard, made_of = {key: value[chosen] for key, value in shard.items()}, [made_of[k] for k in chosen]
    if 'states' in shard:
        painted = paint.paint(shard.pop('states'), shard.pop('shapes').long(), shard['scene'].long(), tuple(made_of[0]['size']))
        shard['frames'] = features.resize(painted)
    shard['mel'] = features.log_mel(shard.pop('wave').float() / 32767).half()
    return shard, made_of


def reference_of(made, sound=True):
    """The reference caption of what read_shard says a clip is made of."""
    return hard.reference_of(made, sound) if 'on' in made else caption.caption_of(made, sound)


def paths_of(patterns):
    """The files of space-separated glob patterns."""
    return sorted(path for pattern in patterns.split() for path in glob.glob(pattern))


def grid_of(shard):
    """Steps, rows and columns of merged visual tokens."""
    return shard['frames'].shape[1] // 2, shard['frames'].shape[2] // features.FACTOR, shard['frames'].shape[3] // features.FACTOR


class Pool:
    """The newest `capacity` shards of a directory, read repeatedly. With `consume`, a file is removed once it is read, so that its
    producer continues."""

    def __init__(self, patterns, rng, device, capacity=200, consume=False):
        self.patterns, self.rng, self.device, self.capacity, self.consume = patterns, rng, device, capacity, consume
        self.shards, self.known, self.failure = [], set(), None
        self.read = self.drawn = 0      # clips
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self._read_until_closed, daemon=True)
        self.thread.start()

    def close(self):
        """Stops reading; a thread that reads while the interpreter exits would crash it."""
        self.closing.set()
        self.thread.join()

    def batch(self, clips, fewest=1, most_steps=None):
        """A random part of a random shard, with at most `most_steps` steps in all; waits until there are at least `fewest` shards."""
        while len(self.shards) < fewest:
            if self.failure:
                raise self.failure
            time.sleep(0.05)
        shard = self.rng.choice(self.shards)
        if most_steps:
            clips = max(1, min(clips, most_steps // grid_of(shard)[0]))
        chosen = torch.randperm(len(shard['frames']), device=self.device)[:clips]
        self.drawn += len(chosen)
        return {key: value[chosen] for key, value in shard.items()}

    def _read_until_closed(self):
        try:
            while not self.closing.is_set():
                full = len(self.shards) >= self.capacity
                if (full and not self.consume and self.drawn < self.read) or not self._read_next():
                    time.sleep(0.05)
        except Exception as failure:      # otherwise an error of this thread would stay hidden
            self.failure = failure

    def _read_next(self):
        fresh = sorted(path for pattern in self.patterns for path in glob.glob(pattern) if path not in self.known)
        if not fresh:
            if len(self.known) > self.capacity:      # all were used: start again
                self.known.clear()
            return False
        path = self.rng.choice(fresh)
        self.shards.append(read_shard(path, self.device)[0])
        self.read += len(self.shards[-1]['frames'])
        os.remove(path) if self.consume else self.known.add(path)
        if len(self.shards) > self.capacity:
            self.shards.pop(0)
        return True
