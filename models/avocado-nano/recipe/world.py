"""The vocabulary of the synthetic world: what can be seen, heard and said, and its wording. No randomness, no pixels.

The tables are in ../world.json, which src/lab/synthetic reads too.
"""
import json
import pathlib

_TABLES = json.loads((pathlib.Path(__file__).parents[1] / 'world.json').read_text())

SIZES = {name: tuple(size) for name, size in _TABLES['sizes'].items()}      # width, height of a clip, pixels
FRAME_RATES = tuple(_TABLES['frameRates'])
SAMPLE_RATE = _TABLES['sampleRate']

BACKGROUNDS, COLORS = ({name: tuple(rgb) for name, rgb in _TABLES[table].items()} for table in ('backgrounds', 'colors'))
TEXTURES = tuple(_TABLES['textures'])
HARD_TO_SEE = _TABLES['hardToSee']             # colours that are not used on a background
SHAPES = tuple(_TABLES['shapes'])
RADII = _TABLES['radii']                       # in pixels of the clip
SLOTS = tuple(_TABLES['slots'])                # positions along the longer side
PLACES = _TABLES['places']                     # names of the slots in clips that place objects from left to right, or from top to bottom
SCREEN_WORDS = tuple(_TABLES['screenWords'])

# One wording each, so that a small model spends its capacity on what happens, not on synonyms.
VERBS, SOUNDS, SPEAKERS = (_TABLES[table] for table in ('verbs', 'sounds', 'speakers'))
VOICES = _TABLES['voices']                     # of espeak-ng
HARD = _TABLES['hard']                         # what only the hard level has
ACCENTS = HARD['accents']                      # its voices
SPOKEN_WORDS = tuple(_TABLES['spokenWords'])

# The sentence of beat k always begins with the k-th opening, so that opening and time determine each other.
OPENINGS = tuple(_TABLES['openings'])
SILENCE = _TABLES['silence']


def is_tall(size):
    """Portrait clips place their objects from top to bottom, all others from left to right."""
    return size[1] > size[0]


def places(size):
    """The three places of a clip of this size, in the order of SLOTS."""
    return PLACES['tall' if is_tall(size) else 'wide']


def article(word):
    """`red` → `a red`, `orange` → `an orange`."""
    return ('an ' if word[0] in 'aeiou' else 'a ') + word
