"""Draws a script: one RGB frame at the size of the clip, for any time."""
import functools
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import world

LIGHT = 16            # levels of a brightness gradient from the upper left, so that a patch of plain background shows its position
ACROSS, ALONG = 46, 0.72   # length of a move: pixels across the row of slots, share of the distance between two slots


def state_at(script, index, time):
    """Centre, radius, rotation, colour and opacity of object `index` at `time`."""
    thing, (width, height) = script['objects'][index], script['size']
    tall = world.is_tall(script['size'])
    along, across = world.SLOTS[thing['slot']] + thing['shift'][0], 0.54 + thing['shift'][1]
    x, y = (across * width, along * height) if tall else (along * width, across * height)
    radius, turn, opacity = world.RADII[thing['size']], 0.0, 0.0 if thing['hidden'] else 1.0
    color = np.array(world.COLORS[thing['color']], np.float32)
    step = ALONG * (world.SLOTS[1] - world.SLOTS[0]) * max(width, height)
    for event in script['events']:
        if event.get('object') != index:
            continue
        done = min(1.0, max(0.0, (time - event['start']) / (event['end'] - event['start'])))
        match event['verb']:
            case 'left' | 'right':
                x += (ACROSS if tall else step) * done * (1 if event['verb'] == 'right' else -1)
            case 'up' | 'down':
                y += (step if tall else ACROSS) * done * (1 if event['verb'] == 'down' else -1)
            case 'grow':
                radius *= 1 + 0.7 * done
            case 'shrink':
                radius /= 1 + 0.7 * done
            case 'spin':
                turn += 2.6 * done
            case 'vanish':
                opacity = 1 - done
            case 'appear':
                opacity = done
            case 'recolor':
                color = color + (np.array(world.COLORS[event['to']], np.float32) - color) * done
    return x, y, radius, turn, color, opacity


def frame_at(script, time):
    """float32 [height, width, 3], 0 to 255."""
    size = tuple(script['size'])
    picture = background(script['background'], script['texture'], size).copy()
    if script['text']:
        ink = 20.0 if script['background'] == 'beige' else 240.0
        picture += (ink - picture) * screen_word(script['text'], size)
    for index, thing in enumerate(script['objects']):
        x, y, radius, turn, color, opacity = state_at(script, index, time)
        if opacity > 0:
            area, cover = _cover(thing['shape'], x, y, radius, turn, size)
            picture[area] += (color - picture[area]) * cover * opacity
    return np.clip(picture + light(size), 0, 255)


@functools.cache
def background(name, texture, size):
    y, x = np.mgrid[0:size[1], 0:size[0]]
    pattern = {'plain': 0 * x, 'striped': ((x + y) // 20) % 2, 'checkered': (x // 24 + y // 24) % 2}[texture]
    contrast = -28 if name == 'beige' else 24
    return np.array(world.BACKGROUNDS[name], np.float32) + (pattern[..., None] * contrast).astype(np.float32)


@functools.cache
def light(size):
    y, x = np.mgrid[0:size[1], 0:size[0]].astype(np.float32)
    across, down = LIGHT * (1 - 2 * x / size[0]), LIGHT * (1 - 2 * y / size[1])
    return np.stack([across, across, across * 0.3 + down], -1)


@functools.cache
def screen_word(word, size):
    picture = Image.new('L', size, 0)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=34)
    draw.text(((size[0] - draw.textlength(word, font=font)) / 2, 1), word, fill=255, font=font, stroke_width=1)
    return np.asarray(picture, np.float32)[..., None] / 255


def _cover(shape, cx, cy, radius, turn, size):
    """The area a shape may touch and its anti-aliased coverage there, from a signed distance."""
    left, right = (int(min(max(v, 0), size[0])) for v in (cx - radius - 2, cx + radius + 3))
    top, bottom = (int(min(max(v, 0), size[1])) for v in (cy - radius - 2, cy + radius + 3))
    y, x = np.mgrid[top:bottom, left:right].astype(np.float32)
    dx, dy = x - cx, y - cy
    reach = np.hypot(dx, dy)
    if shape == 'circle':
        outside = reach - radius * 0.9
    elif shape == 'star':
        angle = np.abs(np.mod(np.arctan2(dy, dx) - turn + math.pi / 2 + math.pi / 5, 2 * math.pi / 5) - math.pi / 5)
        px, py = reach * np.cos(angle), reach * np.sin(angle)
        ex, ey = radius * 0.42 * math.cos(math.pi / 5), radius * 0.42 * math.sin(math.pi / 5)   # the inner corner
        outside = -((ex - radius) * py - ey * (px - radius)) / math.hypot(ex - radius, ey)
    else:
        corners, first = (4, 0.0) if shape == 'square' else (3, math.pi / 2)
        angle = np.mod(np.arctan2(dy, dx) - turn - first + math.pi / corners, 2 * math.pi / corners) - math.pi / corners
        outside = reach * np.cos(angle) - radius * math.cos(math.pi / corners)
    return (slice(top, bottom), slice(left, right)), np.clip(0.5 - outside, 0, 1)[..., None]
