"""Draws training batches from shards while more are being made."""
import glob
import pickle

import torch

import features

LISTED = ('script', 'spans', 'homes', 'sounds', 'times')


class Pool:
    """Batches of clips that share one geometry, from the shards of glob patterns such as `shards/0[345]-*.pkl`."""

    def __init__(self, patterns, rng):
        self.patterns, self.rng, self.waiting = patterns, rng, []

    def batch(self, clips):
        """A random batch; every shard is used up before the next is opened."""
        if not self.waiting:
            shard = read_shard(self._choose())
            order = list(range(len(shard['script'])))
            self.rng.shuffle(order)
            self.waiting = [take(shard, order[k:k + clips]) for k in range(0, len(order) - clips + 1, clips)]
        return self.waiting.pop()

    def _choose(self):
        return self.rng.choice(sorted(path for pattern in self.patterns for path in glob.glob(pattern)))


def read_shard(path):
    """A shard as shards.make_shard made it."""
    with open(path, 'rb') as file:
        return pickle.load(file)


def take(shard, order):
    """The clips of these numbers, ready for the model: a raw shard's, or one that encode_shards.py has run the towers on."""
    batch = {key: [shard[key][k] for k in order] for key in LISTED}
    batch |= dict(cells=torch.from_numpy(shard['cells'][order]).long(), scene=torch.from_numpy(shard['scene'][order]).long())
    if 'seen' in shard:
        return dict(batch, seen=shard['seen'][order], heard=shard['heard'][order], grid=shard['grid'])
    frames = torch.from_numpy(shard['frames'][order])
    grid = (frames.shape[1] // 2, frames.shape[2] // features.FACTOR, frames.shape[3] // features.FACTOR)
    return dict(batch, frames=frames, mel=torch.from_numpy(shard['mel'][order]).float(), grid=grid)
