"""render.py for many frames at once, on any device: what frame_at draws, from the states of the objects."""
import functools
import math

import numpy as np
import torch

import render
import world

FRAMES_AT_ONCE = 256      # limits memory use
STATE = 8                 # x, y, radius, turn, red, green, blue, opacity


def states_of(script, times):
    """States of the objects to draw: float32 [frames, objects, STATE]."""
    states = np.zeros((len(times), len(script['objects']), STATE), np.float32)
    for frame, time in enumerate(times):
        for index in range(len(script['objects'])):
            x, y, radius, turn, color, opacity = render.state_at(script, index, time)
            states[frame, index] = x, y, radius, turn, *color, opacity
    return states


def paint(states, shapes, scene, size):
    """states [n, frames, objects, STATE], shapes [n, objects], scene [n, 2] (labels.scene_of) → float [n, frames, height, width, 3], integer levels."""
    frames = states.shape[1]
    clips = max(1, FRAMES_AT_ONCE // frames)
    return torch.cat([_paint(states[k:k + clips], shapes[k:k + clips], scene[k:k + clips], size) for k in range(0, len(states), clips)])


def _paint(states, shapes, scene, size):
    background, words, light = _tables(size, states.device)
    picture = background[scene[:, 0]]
    beige = scene[:, 0] // len(world.TEXTURES) == list(world.BACKGROUNDS).index('beige')
    ink = torch.where(beige, 20.0, 240.0)[:, None, None, None]
    picture = picture + (ink - picture) * words[scene[:, 1]]
    picture = picture[:, None].expand(-1, states.shape[1], -1, -1, -1)
    y = torch.arange(size[1], device=states.device).float()[:, None]
    x = torch.arange(size[0], device=states.device).float()
    for index in range(states.shape[2]):
        at = states[:, :, index, :, None, None]
        cover = (0.5 - _outside(shapes[:, index, None, None, None], x - at[:, :, 0], y - at[:, :, 1], at[:, :, 2], at[:, :, 3])).clamp(0, 1)
        color = states[:, :, index, None, None, 4:7]
        picture = picture + (color - picture) * (cover * at[:, :, 7])[..., None]
    return (picture + light).clamp(0, 255).round()


def _outside(shape, dx, dy, radius, turn):
    """Signed distance of every pixel to the edge of its shape, with the formulas of render._cover."""
    reach, angle = torch.hypot(dx, dy), torch.atan2(dy, dx) - turn
    fifth = math.pi / 5
    bent = (torch.remainder(angle + math.pi / 2 + fifth, 2 * fifth) - fifth).abs()
    px, py = reach * bent.cos(), reach * bent.sin()
    ex, ey = radius * 0.42 * math.cos(fifth), radius * 0.42 * math.sin(fifth)
    star = -((ex - radius) * py - ey * (px - radius)) / torch.hypot(ex - radius, ey)
    square = shape == world.SHAPES.index('square')
    half = torch.where(square, math.pi / 4, math.pi / 3)
    folded = torch.remainder(angle - torch.where(square, 0.0, math.pi / 2) + half, 2 * half) - half
    polygon = reach * folded.cos() - radius * half.cos()
    circle = reach - radius * 0.9
    return torch.where(shape == world.SHAPES.index('circle'), circle, torch.where(shape == world.SHAPES.index('star'), star, polygon))


@functools.cache
def _tables(size, device):
    """Backgrounds [18, h, w, 3] in the order of labels.scene_of, masks of the screen words [9, h, w, 1] (the first empty), the light."""
    backgrounds = np.stack([render.background(name, texture, size) for name in world.BACKGROUNDS for texture in world.TEXTURES])
    words = np.stack([np.zeros((size[1], size[0], 1), np.float32), *(render.screen_word(word, size) for word in world.SCREEN_WORDS)])
    return tuple(torch.from_numpy(table).to(device) for table in (backgrounds, words, render.light(size)))
