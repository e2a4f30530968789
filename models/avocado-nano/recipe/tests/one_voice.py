"""A stand-in for the bank of recordings, so that tests do not need espeak-ng."""
import random

import numpy as np

import script as scripts


class OneVoice:
    """A bank in which every line is the same half second of noise."""

    trained = ['go left', 'stop now please']

    def recording(self, rng, speaker, line):
        return np.random.default_rng(1).uniform(-0.5, 0.5, 8000).astype(np.float32) * rng.uniform(0.5, 1)


def sample(seed, **changes):
    """A script of one voice; `changes` are to its geometry."""
    geometry = scripts.sample_geometry(random.Random(seed))
    return scripts.sample_script(seed, lines=OneVoice.trained, most_objects=3, **(geometry | changes))
