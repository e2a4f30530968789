"""Makes the assets in ../world that `avocado sample` cannot generate: pictures of the on-screen words, and recorded lines.

usage: python make_assets.py screen-words
       python make_assets.py voices
       python make_assets.py accents      the same lines in the accents of the hard level
"""
import base64
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import wave
import zlib

import numpy as np

import render
import speech
import world

ASSETS = pathlib.Path(__file__).parents[1] / 'world'
WORDS, KNOWN, HELD_OUT = 20, 20, 20        # lines in the bank: single words, trained lines of 2 to 4 words, lines never trained on
GAP = 800                                  # samples of silence between recordings
BITRATE = '28k'


def save(name, entries):
    """One entry per line, so that diffs are readable."""
    lines = ',\n'.join(f'{json.dumps(key)}: {json.dumps(value)}' for key, value in entries.items())
    (ASSETS / name).write_text('{\n' + lines + '\n}\n')


def screen_words():
    """The letters of every word, cropped, with their position relative to the top centre. Widths are even, so it is the same for all sizes."""
    pictures = {}
    for word in world.SCREEN_WORDS:
        cut = None
        for size in world.SIZES.values():
            mask = np.round(render.screen_word(word, size)[..., 0] * 255).astype(np.uint8)
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            top, left, letters = int(rows[0]), int(columns[0]), mask[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
            found = dict(left=left - size[0] // 2, top=top, width=letters.shape[1], height=letters.shape[0],
                         deflated=base64.b64encode(zlib.compress(letters.tobytes(), 9)).decode())
            assert cut in (None, found), 'the picture depends on the size'
            cut = found
        pictures[word] = cut
    save('screen-words.json', pictures)


def voices(name='voices', table=world.VOICES, seed=7):
    """Each chosen line by a man and by a woman, one after another in NAME.ogg; NAME.json is the index."""
    rng = random.Random(seed)
    trained, held_out = speech.make_lines()
    phrases = [line for line in trained if ' ' in line]
    lines = rng.sample(world.SPOKEN_WORDS, WORDS) + rng.sample(phrases, KNOWN) + rng.sample(held_out, HELD_OUT)
    pieces, places, length = [], [], 0
    for speaker, speaker_voices in table.items():
        for line in lines:
            voice = rng.choice(speaker_voices)
            piece = speech.say(line, voice)
            places.append([line, speaker, length, length + len(piece)])
            pieces += [piece, np.zeros(GAP, np.int16)]
            length += len(piece) + GAP
    with tempfile.NamedTemporaryFile(suffix='.wav') as file:
        with wave.open(file, 'wb') as wav:
            wav.setnchannels(1), wav.setsampwidth(2), wav.setframerate(world.SAMPLE_RATE)
            wav.writeframes(np.concatenate(pieces).tobytes())
        file.flush()
        subprocess.run(['ffmpeg', '-y', '-loglevel', 'error', '-i', file.name, '-c:a', 'libopus', '-b:a', BITRATE, '-map_metadata', '-1',
                        '-flags', '+bitexact', '-fflags', '+bitexact', str(ASSETS / f'{name}.ogg')], check=True)
    rows = ',\n'.join(json.dumps(place) for place in places)
    (ASSETS / f'{name}.json').write_text('[\n' + rows + '\n]\n')


if __name__ == '__main__':
    ASSETS.mkdir(exist_ok=True)
    {'screen-words': screen_words, 'voices': voices, 'accents': lambda: voices('accents', world.ACCENTS)}[sys.argv[1]]()
