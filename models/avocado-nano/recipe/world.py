"""The vocabulary of the generated world: what can be seen, heard and said, and the words for it. No randomness, no pixels.

The tables are in ../world.json, where the product's own reader of captions and maker of samples finds the same ones.
"""
import json
import pathlib

_TABLES = json.loads((pathlib.Path(__file__).parents[1] / 'world.json').read_text())

SIZES = {name: tuple(size) for name, size in _TABLES['sizes'].items()}      # width, height of a clip, pixels
FRAME_RATES = tuple(_TABLES['frameRates'])
SAMPLE_RATE = _TABLES['sampleRate']

BACKGROUNDS, COLORS = ({name: tuple(rgb) for name, rgb in _TABLES[table].items()} for table in ('backgrounds', 'colors'))
TEXTURES = tuple(_TABLES['textures'])
HARD_TO_SEE = _TABLES['hardToSee']             # colours left out on a background
SHAPES = tuple(_TABLES['shapes'])
RADII = _TABLES['radii']                       # pixels of the clip
SLOTS = tuple(_TABLES['slots'])                # along the longer side
PLACES = _TABLES['places']                     # their names in clips that line objects up from left to right, or from top to bottom
SCREEN_WORDS = tuple(_TABLES['screenWords'])

# One wording each: a small model should spend its capacity on what happens, not on how to say it.
VERBS, SOUNDS, SPEAKERS = (_TABLES[table] for table in ('verbs', 'sounds', 'speakers'))
VOICES = _TABLES['voices']                     # espeak-ng's
SPOKEN_WORDS = tuple(_TABLES['spokenWords'])

# Beat k of a clip always gets the k-th opening, so that the word tells the time and the time tells the word.
OPENINGS = tuple(_TABLES['openings'])
SILENCE = _TABLES['silence']


def is_tall(size):
    """Portrait clips line their objects up from top to bottom, all others from left to right."""
    return size[1] > size[0]


def places(size):
    """The three places of a clip of this size, in the order of SLOTS."""
    return PLACES['tall' if is_tall(size) else 'wide']


def article(word):
    """`red` → `a red`, `orange` → `an orange`."""
    return ('an ' if word[0] in 'aeiou' else 'a ') + word
