"""Makes test/fixtures/world: results of this recipe's reader, scorer and painter, for the tests of their TypeScript twins.

captions: reference captions, their keypoints, and damaged captions with their scores.
frames: scripts with their captions, and some pixels of one frame of each.

usage: python make_fixtures.py captions|frames OUT.json
"""
import base64
import json
import random
import sys
import zlib

import numpy as np

import caption
import render
import scorer
import script as scripts
import speech
import world

CLIPS, DAMAGED = 40, 3
FRAMES, ROWS, COLUMNS = 24, 4, 3          # every fourth row, every third column
SWAPS = [list(world.COLORS), list(world.SHAPES), list(world.VERBS.values()), list(world.SOUNDS.values()), list(world.RADII), list(world.TEXTURES),
         list(world.SPEAKERS.values()), [place for places in world.PLACES.values() for place in places], world.SPOKEN_WORDS, world.SCREEN_WORDS]


def damage(rng, text):
    """A caption with one to four mistakes: words changed, sentences removed, repeated, reordered or cut off."""
    for _ in range(rng.randint(1, 4)):
        sentences = text.split('. ')
        match rng.randrange(8):
            case 0:
                sentences.pop(rng.randrange(len(sentences)))
            case 1:
                sentences.append(rng.choice(sentences))
            case 2:
                rng.shuffle(sentences)
            case 3:
                sentences[-1] = sentences[-1][:rng.randrange(len(sentences[-1]) + 1)]
            case _:
                words = rng.choice(SWAPS)
                present = [word for word in words if word in text]
                if present:
                    sentences = text.replace(rng.choice(present), rng.choice(words), rng.choice([1, -1])).split('. ')
        text = '. '.join(sentences)
    return text


def captions():
    """One entry per clip: reference, keypoints, and the scores of some captions of it."""
    lines, made = speech.make_lines()[0], []
    for seed in range(CLIPS):
        rng, sound = random.Random(seed), seed % 5 != 4
        script = scripts.sample_script(seed, lines=lines, most_objects=3, **scripts.sample_geometry(rng, rng.randint(3, 16)))
        reference = caption.caption_of(script, sound)
        tried = [damage(rng, reference) for _ in range(DAMAGED)] + [''] * (seed == 0)
        made.append(dict(reference=reference, keypoints=caption.keypoints_of(script, sound), dialogue=caption.dialogue_of(script, sound),
                         tried=[dict(caption=text, read=scorer.parse(text), score=scorer.score(text, script, sound),
                                     says_sound=scorer.says_sound(text)) for text in tried]))
    return made


def frames():
    """One entry per script; the frame lies within one of its changes."""
    made = []
    for seed in range(FRAMES):
        rng = random.Random(1000 + seed)
        geometry = dict(scripts.sample_geometry(rng, 4 + seed % 5), size=list(world.SIZES.values())[seed % 3])
        script = scripts.sample_script(seed, lines=['go left'], most_objects=3, **geometry)
        script['text'] = world.SCREEN_WORDS[seed % 8] if seed < 8 else script['text']
        changes = [event for event in script['events'] if event['kind'] == 'visual']
        time = rng.uniform(changes[-1]['start'], changes[-1]['end']) if changes else 1.0
        pixels = render.frame_at(script, time).round().astype(np.uint8)[::ROWS, ::COLUMNS]
        made.append(dict(script=script, caption=caption.caption_of(script), soundless=caption.caption_of(script, False), time=time, rows=ROWS,
                         columns=COLUMNS, pixels=base64.b64encode(zlib.compress(pixels.tobytes(), 9)).decode()))
    shown = {event['verb'] for entry in made for event in entry['script']['events'] if event['kind'] == 'visual'}
    assert shown == set(world.VERBS), set(world.VERBS) - shown
    return made


if __name__ == '__main__':
    makers = dict(captions=captions, frames=frames)
    with open(sys.argv[2], 'w') as file:
        file.write('[\n' + ',\n'.join(json.dumps(entry) for entry in makers[sys.argv[1]]()) + '\n]\n')
