"""The voices of the world, made by espeak-ng."""
import itertools
import random
import shutil

import numpy as np
import pytest

import speech
import world

needs_espeak = pytest.mark.skipif(shutil.which('espeak-ng') is None, reason='espeak-ng is not installed')
VOICES = [voice for voices in world.VOICES.values() for voice in voices]
DIFFERENCE = 0.25      # of two voices at the same speed, as a share of their loudness


@pytest.fixture
def one_speed(monkeypatch):
    """All voices at the same speed; otherwise any two would differ."""
    class Fixed(random.Random):
        def randint(self, low, high):
            return 175
    monkeypatch.setattr(speech.random, 'Random', Fixed)


@needs_espeak
def test_no_two_voices_say_the_same_recording(one_speed):
    for line in ('go left', 'stop now please', 'anna'):
        said = {voice: speech.say(line, voice).astype(np.float32) for voice in VOICES}
        for one, other in itertools.combinations(VOICES, 2):
            length = min(len(said[one]), len(said[other]))
            apart = np.abs(said[one][:length] - said[other][:length]).mean() / np.abs(said[one]).mean()
            assert len(said[one]) != len(said[other]) or apart > DIFFERENCE, (one, other, line)


@needs_espeak
def test_a_bank_gives_each_line_in_the_voices_of_its_speaker(tmp_path, monkeypatch):
    monkeypatch.setattr(speech, 'make_lines', lambda: (['go left', 'anna'], ['stop']))
    speech.build_bank(str(tmp_path / 'bank'))
    bank = speech.Bank(str(tmp_path / 'bank'))
    assert {(speaker, line): len(spans) for (speaker, line), spans in bank.spans.items()} == {
        (speaker, line): len(world.VOICES[speaker]) for speaker in world.SPEAKERS for line in ('go left', 'anna', 'stop')}
    recording = bank.recording(random.Random(1), 'man', 'go left')
    assert recording.dtype == np.float32 and 0.5 < np.abs(recording).max() <= 1


def test_lines_held_out_are_never_trained():
    trained, held_out = speech.make_lines()
    assert not set(trained) & set(held_out) and len(trained) + len(held_out) == speech.LINES
    assert set(world.SPOKEN_WORDS) <= set(trained) and all(' ' in line for line in held_out)
