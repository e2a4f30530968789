"""The sound track of a script: tones, noise, drums, melodies and recorded lines over faint noise."""
import random

import numpy as np

from world import SAMPLE_RATE

HISS_SHARE = 0.7      # share of clips; audio codecs remove such faint noise, so the other clips have none


def soundtrack(script, bank):
    """float32 waveform of the clip's length, and [start, end] in seconds of each sounding event by its number in the script."""
    rng, noise = random.Random(script['seed'] + 1), np.random.default_rng(script['seed'])
    hiss = 10 ** rng.uniform(-4.2, -2.7) if rng.random() < HISS_SHARE else 0.0
    wave = hiss * noise.standard_normal(round(script['duration'] * SAMPLE_RATE), np.float32)
    spans = {}
    for number, event in enumerate(script['events']):
        if event['kind'] == 'visual':
            continue
        if event['kind'] == 'speech':
            piece = bank.recording(rng, event['speaker'], event['text']) * 0.7
        else:
            piece = make_sound(rng, event['sound'])
        first = max(0, min(int(event['start'] * SAMPLE_RATE), len(wave) - len(piece)))
        piece = piece[:len(wave) - first] * rng.uniform(0.5, 1.1)
        wave[first:first + len(piece)] += piece
        spans[number] = [first / SAMPLE_RATE, (first + len(piece)) / SAMPLE_RATE]
    return np.clip(wave, -1, 1), spans


def make_sound(rng, name):
    """One of world.SOUNDS, float32."""
    match name:
        case 'beep_high':
            return _tone(rng.uniform(1500, 2200), _samples(rng.uniform(0.4, 0.7)))
        case 'beep_low':
            return _tone(rng.uniform(230, 380), _samples(rng.uniform(0.4, 0.7)))
        case 'sweep_up' | 'sweep_down':
            count, octaves = _samples(rng.uniform(0.7, 1.1)), rng.uniform(1.8, 2.4)
            rise = np.linspace(0, octaves, count)
            return _tone(rng.uniform(280, 400) * 2 ** (rise if name == 'sweep_up' else rise[::-1]), count)
        case 'noise':
            count = _samples(rng.uniform(0.5, 0.9))
            hiss = np.random.default_rng(rng.randrange(1 << 30)).normal(0, 0.16, count)
            return (hiss * _fade(count, 400)).astype(np.float32)
        case 'drums':
            return _drums(rng)
        case 'melody':
            root = rng.uniform(420, 560)
            notes = [_tone(root * 2 ** (rng.choice((0, 4, 7, 12, 5, 9)) / 12), _samples(0.22), 0.35, 0.5) for _ in range(rng.randint(4, 6))]
            return np.concatenate(notes)
    raise ValueError(f'{name} is not a sound of this world')


def _samples(seconds):
    return int(seconds * SAMPLE_RATE)


def _fade(count, edge):
    ramp = np.arange(count)
    return np.minimum(1, np.minimum(ramp, ramp[::-1]) / edge)


def _tone(hertz, count, loudness=0.4, overtone=0.25):
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(hertz, count)) / SAMPLE_RATE
    return (loudness * (np.sin(phase) + overtone * np.sin(2 * phase)) * _fade(count, 160)).astype(np.float32)


def _drums(rng):
    beats, gap = rng.randint(4, 6), rng.uniform(0.19, 0.24)
    wave, stroke = np.zeros(_samples(gap * beats) + 800, np.float32), np.arange(1600)
    skin = np.random.default_rng(rng.randrange(1 << 30))
    for beat in range(beats):
        tone = 0.5 * np.sin(2 * np.pi * rng.uniform(150, 190) * stroke / SAMPLE_RATE) + skin.normal(0, 0.22, len(stroke))
        first = _samples(beat * gap)
        piece = (np.exp(-stroke / 260) * tone)[:len(wave) - first]
        wave[first:first + len(piece)] += piece
    return wave
