"""The vocabulary of the generated world: what can be seen, heard and said, and the words for it. No randomness, no pixels."""

SIZES = {'16:9': (320, 180), '1:1': (240, 240), '9:16': (180, 320)}   # width, height of a clip, pixels
FRAME_RATES = (24, 25, 30)
SAMPLE_RATE = 16_000

BACKGROUNDS = {'black': (30, 30, 34), 'gray': (120, 120, 124), 'navy': (24, 34, 96), 'brown': (96, 58, 32),
               'teal': (18, 104, 104), 'beige': (208, 194, 160)}
TEXTURES = ('plain', 'striped', 'checkered')
COLORS = {'red': (222, 32, 36), 'green': (44, 190, 60), 'blue': (52, 104, 250), 'yellow': (250, 226, 40),
          'orange': (250, 136, 16), 'purple': (160, 48, 204), 'white': (246, 246, 246), 'pink': (252, 142, 196)}
HARD_TO_SEE = {'beige': ('white', 'yellow'), 'brown': ('orange', 'red'), 'teal': ('green',), 'navy': ('blue', 'purple')}
SHAPES = ('circle', 'square', 'triangle', 'star')
RADII = {'small': 28, 'large': 42}                                     # pixels of the clip
SLOTS = (0.2, 0.5, 0.8)                                                # along the longer side
PLACES = {'wide': ('on the left', 'in the center', 'on the right'), 'tall': ('at the top', 'in the middle', 'at the bottom')}
SCREEN_WORDS = ('HELLO', 'STOP', 'NEWS', 'SALE', 'OPEN', 'PLAY', 'EXIT', 'MENU')

# One wording each: a small model should spend its capacity on what happens, not on how to say it.
VERBS = {'left': 'moves left', 'right': 'moves right', 'up': 'moves up', 'down': 'moves down', 'grow': 'grows',
         'shrink': 'shrinks', 'spin': 'spins', 'vanish': 'vanishes', 'appear': 'appears', 'recolor': 'turns'}
SOUNDS = {'beep_high': 'a high beep', 'beep_low': 'a low beep', 'sweep_up': 'a rising tone', 'sweep_down': 'a falling tone',
          'noise': 'a burst of noise', 'drums': 'a drum rhythm', 'melody': 'a short melody'}
SPEAKERS = {'man': 'a man', 'woman': 'a woman'}
VOICES = {'man': ('en-us+m1', 'en-us+m3', 'en-gb+m7'), 'woman': ('en-us+f2', 'en-us+f4', 'en-gb+f3')}
SPOKEN_WORDS = ('hello goodbye good morning thank you sam anna go look jump turn run come left right up down here back now please stop '
                'wait one two three four the red blue green star square circle yes no are ready').split()

# Beat k of a clip always gets the k-th opening, so that the word tells the time and the time tells the word.
OPENINGS = ('At first', 'Then', 'Next', 'After that', 'Later', 'Further on', 'Near the end', 'At last')
SILENCE = 'There is no sound.'


def is_tall(size):
    """Portrait clips line their objects up from top to bottom, all others from left to right."""
    return size[1] > size[0]


def places(size):
    """The three places of a clip of this size, in the order of SLOTS."""
    return PLACES['tall' if is_tall(size) else 'wide']


def article(word):
    """`red` → `a red`, `orange` → `an orange`."""
    return ('an ' if word[0] in 'aeiou' else 'a ') + word
