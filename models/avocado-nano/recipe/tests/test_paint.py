"""paint.py, which draws on any device for training, draws the same as render.py, the reference of the tests and of the TypeScript painter."""
import random

import numpy as np
import pytest
import torch

import features
import labels
import paint
import render
import world
from one_voice import sample


def painted(script, times):
    shapes = torch.tensor([[world.SHAPES.index(thing['shape']) for thing in script['objects']]])
    states = torch.from_numpy(paint.states_of(script, times))[None]
    return paint.paint(states, shapes, torch.tensor([labels.scene_of(script)]), tuple(script['size']))[0]


@pytest.mark.parametrize('size', world.SIZES.values(), ids=world.SIZES)
def test_frames_are_those_of_render_within_a_level(size):
    rng, verbs = random.Random(1), set()
    for seed in range(20):
        script = sample(seed, size=size)
        times = [rng.uniform(event['start'], event['end']) for event in script['events'] if event['kind'] == 'visual'] + [0.0]
        drawn = np.stack([render.frame_at(script, time) for time in times])
        assert np.abs(painted(script, times).numpy() - drawn).max() <= 1, seed
        verbs |= {event['verb'] for event in script['events'] if event['kind'] == 'visual'}
    assert verbs == set(world.VERBS)


def test_many_clips_are_painted_as_one_by_one(monkeypatch):
    made = [script for script in (sample(seed, size=(320, 180), duration=4, fps=24) for seed in range(60)) if len(script['objects']) == 2][:5]
    times = np.arange(8) / 2
    states = torch.stack([torch.from_numpy(paint.states_of(script, times)) for script in made])
    shapes = torch.tensor([[world.SHAPES.index(thing['shape']) for thing in script['objects']] for script in made])
    scene = torch.tensor([labels.scene_of(script) for script in made])
    monkeypatch.setattr(paint, 'FRAMES_AT_ONCE', 16)
    together = paint.paint(states, shapes, scene, (320, 180))
    assert all(torch.equal(together[row], painted(script, times)) for row, script in enumerate(made))


def test_a_frame_becomes_patches_of_the_towers_order():
    frames = torch.arange(2 * 4 * 56 * 84 * 3).remainder(251).byte().view(2, 4, 56, 84, 3)
    patches = features.patches_of(frames)
    assert patches.shape == (2, 2, 24, 1176)
    # clip 1, step 1, the merge group at row 1 and column 2, its patch at the lower left
    patch = patches[1, 1, (1 * 3 + 2) * 4 + 2].view(3, 2, 14, 14)
    seen = frames[1, 2:, 42:56, 56:70].permute(3, 0, 1, 2).float() / 255
    assert torch.allclose(patch, (seen - features.MEAN[:, None, None, None]) / features.STD[:, None, None, None])


def test_the_mel_of_many_waves_is_that_of_each():
    waves = torch.from_numpy(np.random.default_rng(2).normal(0, 0.1, (3, 16000)).astype(np.float32))
    waves[1] *= 0.01
    together = features.log_mel(waves)
    assert together.shape == (3, 128, 100) and features.audio_tokens(100) == 25
    assert torch.allclose(together, torch.cat([features.log_mel(wave[None]) for wave in waves]), atol=1e-5)
