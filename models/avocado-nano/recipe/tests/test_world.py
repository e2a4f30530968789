"""The generator gives the same clip for the same seed, and its captions describe its scripts."""
import numpy as np
import pytest

import caption
import features
import render
import sound
import world
from one_voice import OneVoice, sample


@pytest.mark.parametrize('seed', range(5))
def test_a_seed_gives_the_same_script_frames_and_sound(seed):
    first, second = sample(seed), sample(seed)
    assert first == second
    assert np.array_equal(render.frame_at(first, 1.3), render.frame_at(second, 1.3))
    assert np.array_equal(sound.soundtrack(first, OneVoice())[0], sound.soundtrack(second, OneVoice())[0])


def test_other_seeds_give_other_clips():
    assert len({caption.caption_of(sample(seed)) for seed in range(100)}) > 90


@pytest.mark.parametrize('size, expected', [((320, 180), (140, 84)), ((240, 240), (112, 112)), ((180, 320), (84, 140))])
def test_every_size_fits_one_pixel_limit(size, expected):
    assert features.model_size(size) == expected


@pytest.mark.parametrize('duration, fps, count', [(3.9, 25, 6), (4, 24, 8), (16, 30, 32)])
def test_an_even_number_of_frames_from_first_to_last(duration, fps, count):
    total = round(duration * fps)
    indices = features.frame_indices(total, fps)
    assert (len(indices), indices[0], indices[-1]) == (count, 0, total - 1)


def test_without_sound_a_caption_speaks_of_none():
    texts = [caption.caption_of(sample(seed), sound=False) for seed in range(200)]
    assert not any(word in text for text in texts for word in ('heard', 'says', 'sound'))


def test_events_of_one_object_do_not_overlap_and_end_within_the_clip():
    for seed in range(200):
        made = sample(seed)
        spans = sorted((e['start'], e['end']) for e in made['events'] if e['kind'] == 'visual')
        assert all(end <= start for (_, end), (start, _) in zip(spans, spans[1:]))
        assert all(end <= made['duration'] for _, end in spans)


def test_objects_stay_in_the_picture():
    for seed in range(200):
        made = sample(seed, duration=16)
        for index in range(len(made['objects'])):
            x, y, *_ = render.state_at(made, index, 16)
            assert 0 < x < made['size'][0] and 0 < y < made['size'][1]


def test_the_segments_of_a_caption_name_every_event():
    made = sample(3, duration=16)
    told = [subject[1] for _, subject in caption.segments_of(made) if subject and subject[0] == 'event']
    assert sorted(set(told)) == list(range(len(made['events'])))
    assert max(e['beat'] for e in made['events']) < len(world.OPENINGS)
