"""The spoken lines of the world, each by every voice (espeak-ng), in one long recording with an index.

usage: python speech.py BANK [PROCESSES] [--accents]
Writes BANK.npy (16 kHz mono int16), BANK.json, and BANK.lines.json. --accents: in the accents of the hard level.
"""
import json
import multiprocessing
import random
import subprocess
import sys

import numpy as np

import world

LINES, HELD_OUT = 4320, slice(640, 960)      # held-out lines are used in evaluation only


def make_lines(seed=20):
    """Distinct random lines of one to four words: (trained, held out). Only the trained ones have single words."""
    rng = random.Random(seed)
    lines, known = list(world.SPOKEN_WORDS), set(world.SPOKEN_WORDS)
    while len(lines) < LINES:
        line = ' '.join(rng.choices(world.SPOKEN_WORDS, k=rng.choices((2, 3, 4), (40, 40, 20))[0]))
        if line not in known:
            lines.append(line)
            known.add(line)
    return lines[:HELD_OUT.start] + lines[HELD_OUT.stop:], lines[HELD_OUT]


def say(line, voice):
    """16 kHz mono int16, trimmed and at full scale. The speed depends on line and voice only."""
    speed = random.Random(line + voice).randint(160, 195)
    wav = subprocess.run(['espeak-ng', '-v', voice, '-s', str(speed), '--stdout', line], capture_output=True, check=True).stdout
    rate = int.from_bytes(wav[24:28], 'little')
    wave = np.frombuffer(wav[44:len(wav) - len(wav) % 2], np.int16).astype(np.float32) / 32768
    smoothing = np.hanning(5) / np.hanning(5).sum()
    times = np.arange(int(len(wave) * world.SAMPLE_RATE / rate)) * rate / world.SAMPLE_RATE
    wave = np.interp(times, np.arange(len(wave)), np.convolve(wave, smoothing, 'same'))
    loud = np.flatnonzero(np.abs(wave) > 0.01)
    wave = wave[max(0, loud[0] - 160):loud[-1] + 400]
    return (wave / np.abs(wave).max() * 32000).astype(np.int16)


def _say(task):
    return say(task[2], task[1])


def build_bank(path, processes=1, table=world.VOICES):
    """Writes every line in every voice."""
    trained, held_out = make_lines()
    with open(path + '.lines.json', 'w') as file:
        json.dump(dict(trained=trained, heldOut=held_out), file)
    tasks = [(speaker, voice, line) for speaker, voices in table.items() for voice in voices for line in trained + held_out]
    with multiprocessing.Pool(processes) as pool:
        waves = pool.map(_say, tasks, 64)
    ends = np.cumsum([len(wave) for wave in waves]).tolist()
    np.save(path + '.npy', np.concatenate(waves))
    with open(path + '.json', 'w') as file:
        json.dump([[speaker, line, end - len(wave), end] for (speaker, _, line), wave, end in zip(tasks, waves, ends)], file)


class Bank:
    """Recordings by speaker and line; the recording is memory-mapped, so that processes share it."""

    def __init__(self, path):
        self.trained, self.held_out = make_lines()
        self.wave, self.spans = np.load(path + '.npy', mmap_mode='r'), {}
        with open(path + '.json') as file:
            for speaker, line, start, end in json.load(file):
                self.spans.setdefault((speaker, line), []).append((start, end))

    def recording(self, rng, speaker, line):
        """A recording by one of the speaker's voices, float32, slightly faster or slower."""
        start, end = rng.choice(self.spans[speaker, line])
        wave = self.wave[start:end].astype(np.float32) / 32768
        pace = rng.uniform(0.95, 1.06)
        return np.interp(np.arange(int(len(wave) / pace)) * pace, np.arange(len(wave)), wave).astype(np.float32)


if __name__ == '__main__':
    accents = '--accents' in sys.argv
    given = [argument for argument in sys.argv[1:] if argument != '--accents']
    build_bank(given[0], int(given[1]) if len(given) > 1 else 1, world.ACCENTS if accents else world.VOICES)
