"""Dense training targets beside the caption: what each merged visual token shows, and the order of all sounds."""
import dataclasses

import numpy as np

import features
import render
import world

ACTIONS = ('none', *world.VERBS)
SHAPES = ('none', *world.SHAPES)
COLORS = ('none', *world.COLORS)
SIZES = ('none', *world.RADII)
AUDIO_CLASSES = ('blank', *world.SOUNDS, *world.SPEAKERS, *dict.fromkeys(world.SPOKEN_WORDS))   # CTC alphabet
IGNORED = -100


@dataclasses.dataclass(frozen=True)
class Tables:
    """Classes of the dense targets: their number by part of a cell and by part of a step's scene, and the names of the CTC alphabet."""
    parts: dict
    scene: dict
    sounds: tuple


EASY = Tables(dict(shape=len(SHAPES), color=len(COLORS), action=len(ACTIONS), size=len(SIZES)),
              dict(background=len(world.BACKGROUNDS) * len(world.TEXTURES), word=1 + len(world.SCREEN_WORDS)), AUDIO_CLASSES)
SEEN_FROM, CLEAR_FROM = 0.03, 0.13    # share of an event between a step's two frames: below the first no event, above the second an event, ignored between them
BETWEEN_SIZES = 0.5 * sum(world.RADII.values())


def cells_of(script, times):
    """Contents of each cell, int16 [steps, cells, 4] of (shape, colour, action, size), and the cell of each object [steps, objects], -1 = invisible."""
    width, height = (side // features.FACTOR for side in features.model_size(script['size']))
    steps = len(times) // 2
    cells = np.zeros((steps, width * height, 4), np.int16)
    homes = np.full((steps, len(script['objects'])), -1, np.int16)
    for step in range(steps):
        first, second = times[2 * step], times[2 * step + 1]
        for index, thing in enumerate(script['objects']):
            x, y, radius, _, color, opacity = render.state_at(script, index, (first + second) / 2)
            if opacity < 0.2:
                continue
            column = int(np.clip(x / script['size'][0] * width, 0, width - 1))
            row = int(np.clip(y / script['size'][1] * height, 0, height - 1))
            nearest = int(np.argmin([np.abs(np.array(c) - color).sum() for c in world.COLORS.values()]))
            cells[step, row * width + column] = (SHAPES.index(thing['shape']), 1 + nearest, _action(script, index, first, second),
                                                 SIZES.index('large' if radius > BETWEEN_SIZES else 'small'))
            homes[step, index] = row * width + column
    return cells, homes


def _action(script, index, first, second):
    for event in script['events']:
        if event.get('object') == index:
            share = (min(second, event['end']) - max(first, event['start'])) / (event['end'] - event['start'])
            if share > SEEN_FROM:
                return ACTIONS.index(event['verb']) if share > CLEAR_FROM else IGNORED
    return 0


def scene_of(script):
    """(background and texture, on-screen word) as class numbers."""
    background = list(world.BACKGROUNDS).index(script['background']) * len(world.TEXTURES) + world.TEXTURES.index(script['texture'])
    return background, 1 + world.SCREEN_WORDS.index(script['text']) if script['text'] else 0


def audio_of(script):
    """All sounds in order as CTC classes: the name of a sound, or a speaker followed by every word."""
    heard = sorted((e for e in script['events'] if e['kind'] != 'visual'), key=lambda e: e['start'])
    names = []
    for event in heard:
        names += [event['sound']] if event['kind'] == 'sound' else [event['speaker'], *event['text'].split()]
    return [AUDIO_CLASSES.index(name) for name in names]
