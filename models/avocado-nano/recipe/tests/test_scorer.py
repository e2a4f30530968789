"""A perfect caption scores 100 %; a changed caption loses only what was changed."""
import random

import pytest

import caption
import script as scripts
import scorer
import world

SEEDS = range(300)


def sample(seed):
    geometry = scripts.sample_geometry(random.Random(seed), random.Random(seed).randint(3, 16))
    return scripts.sample_script(seed, lines=['go left', 'stop now please', 'anna'], most_objects=3, **geometry)


@pytest.mark.parametrize('sound', [True, False])
def test_a_perfect_caption_has_everything_and_nothing_false(sound):
    for seed in SEEDS:
        made = sample(seed)
        scored = scorer.score(caption.caption_of(made, sound), made, sound)
        assert scored['recall'] == 1 and scored['claims'][0] == 0
        assert scored['dialogue'] in (None, pytest.approx(1))
        assert all(hit == total for hit, total in scored['skills'].values())


def test_an_empty_caption_has_nothing():
    scored = scorer.score('', sample(1))
    assert scored['recall'] == 0 and scored['claims'] == (0, 0)


def changed(old, new, kind):
    """Scores of the perfect caption and of the same with `new` instead of `old`, for the first clip whose caption has `old`."""
    made = next(s for s in map(sample, SEEDS) if old in caption.caption_of(s) and kind(s))
    text = caption.caption_of(made)
    return scorer.score(text, made), scorer.score(text.replace(old, new, 1), made)


def lost(before, after):
    return {name: before['categories'][name][0] - after['categories'][name][0] for name in before['categories']
            if before['categories'][name][0] != after['categories'][name][0]}


def test_a_wrong_background_costs_one_static_keypoint():
    before, after = changed('navy background', 'teal background', lambda s: True)
    assert lost(before, after) == {'static': 1} and after['claims'][0] == 1


def test_a_wrong_verb_costs_its_keypoint_and_what_is_told_of_it():
    one_beat = lambda s: scripts.beats_of(s['duration']) == 1 and [e['kind'] for e in s['events']] == ['visual', 'sound']
    made = next(s for s in map(sample, range(3000)) if one_beat(s) and s['events'][0]['verb'] == 'grow')
    text = caption.caption_of(made)
    before, after = scorer.score(text, made), scorer.score(text.replace('grows', 'shrinks'), made)
    assert lost(before, after) == {'dynamic': 1, 'cross-modal': 1}
    assert after['claims'][0] == 1 and after['skills']['verb'] == (0, 1)


def test_a_sound_told_one_beat_late_costs_no_sound_but_the_while():
    made = next(s for s in map(sample, range(3000)) if [(e['kind'], e['beat']) for e in s['events']] == [('visual', 0), ('sound', 0)])
    text = caption.caption_of(made)
    split = text.replace(' while ', f'. {world.OPENINGS[1]}, ')
    assert lost(scorer.score(text, made), scorer.score(split, made)) == {'cross-modal': 1}


def test_a_line_nearly_right_counts_as_heard_and_lowers_the_dialogue_score():
    before, after = changed('stop now please', 'stop new please', lambda s: sum(e['kind'] == 'speech' for e in s['events']) == 1)
    assert lost(before, after) == {}
    assert after['dialogue'] == pytest.approx((1 + 14 / 15) / 2)
    assert after['skills']['line'][0] == before['skills']['line'][0] - 1


def test_the_wrong_speaker_costs_the_line():
    before, after = changed('a man says', 'a woman says', lambda s: sum(e['kind'] == 'speech' for e in s['events']) == 1)
    assert lost(before, after)['auditory'] == 1 and after['dialogue'] == pytest.approx(0.5)


def test_words_about_sound_are_noticed():
    made = sample(3)
    assert not scorer.says_sound(caption.caption_of(made, sound=False))
    assert scorer.says_sound('At first, a high beep is heard.')
