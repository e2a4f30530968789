"""The spoken lines of the world, said once by every voice (espeak-ng) and kept in one file.

usage: python speech.py BANK.npz
"""
import random
import subprocess
import sys

import numpy as np

import world

TRAINED, HELD_OUT = 640, 80      # lines; those held out are heard in evaluation only


def make_lines(seed=20):
    """Distinct random lines of one to four words: (trained, held out). Only the trained ones have single words."""
    rng = random.Random(seed)
    lines = list(world.SPOKEN_WORDS)
    while len(lines) < TRAINED + HELD_OUT:
        line = ' '.join(rng.choices(world.SPOKEN_WORDS, k=rng.choices((2, 3, 4), (40, 40, 20))[0]))
        if line not in lines:
            lines.append(line)
    return lines[:TRAINED], lines[TRAINED:]


def say(line, voice, words_per_minute):
    """16 kHz mono int16, trimmed and at full scale."""
    command = ['espeak-ng', '-v', voice, '-s', str(words_per_minute), '--stdout', line]
    wav = subprocess.run(command, capture_output=True, check=True).stdout
    rate = int.from_bytes(wav[24:28], 'little')
    wave = np.frombuffer(wav[44:len(wav) - len(wav) % 2], np.int16).astype(np.float32) / 32768
    smoothing = np.hanning(5) / np.hanning(5).sum()
    times = np.arange(int(len(wave) * world.SAMPLE_RATE / rate)) * rate / world.SAMPLE_RATE
    wave = np.interp(times, np.arange(len(wave)), np.convolve(wave, smoothing, 'same'))
    loud = np.flatnonzero(np.abs(wave) > 0.01)
    wave = wave[max(0, loud[0] - 160):loud[-1] + 400]
    return (wave / np.abs(wave).max() * 32000).astype(np.int16)


def build_bank(path):
    """Writes every line in every voice; a line's speed depends on line and voice, and is the same every time."""
    trained, held_out = make_lines()
    bank = {}
    for speaker, voices in world.VOICES.items():
        for voice in voices:
            for line in trained + held_out:
                speed = random.Random(line + voice).randint(160, 195)
                bank[f'{speaker}|{voice}|{line}'] = say(line, voice, speed)
    np.savez(path, **bank)


class Bank:
    """Recordings by speaker and line."""

    def __init__(self, path):
        self.trained, self.held_out = make_lines()
        self.recordings = {}
        with np.load(path) as stored:
            for key in stored.files:
                speaker, _, line = key.split('|')
                self.recordings.setdefault((speaker, line), []).append(stored[key])

    def recording(self, rng, speaker, line):
        """One voice's recording, float32, slightly faster or slower."""
        wave = rng.choice(self.recordings[speaker, line]).astype(np.float32) / 32768
        pace = rng.uniform(0.95, 1.06)
        return np.interp(np.arange(int(len(wave) / pace)) * pace, np.arange(len(wave)), wave).astype(np.float32)


if __name__ == '__main__':
    build_bank(sys.argv[1])
