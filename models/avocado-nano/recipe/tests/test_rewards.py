"""Rewards against the project's fixtures (the folder AVOCADO_GOLDEN; skipped without it) and worked examples."""
import json
import os
import pathlib

import pytest
import torch

import dialogue
import grpo
import repetition
import rewards

GOLDEN = pathlib.Path(os.environ.get('AVOCADO_GOLDEN', 'golden'))
needs_golden = pytest.mark.skipif(not GOLDEN.exists(), reason='AVOCADO_GOLDEN does not name the folder of fixtures')


def fixture(name):
    return json.loads((GOLDEN / name).read_text())


@needs_golden
def test_similarity_is_that_of_the_fixtures():
    for row in fixture('rewards.json')['similarity']:
        assert dialogue.levenshtein(row['a'], row['b']) == row['lev']
        assert dialogue.similarity(row['a'], row['b']) == pytest.approx(row['sim'])


@needs_golden
def test_alignment_finds_the_best_pairs_in_order():
    for row in fixture('rewards.json')['dp']:
        total, pairs = dialogue.align(row['S'])
        assert total == pytest.approx(row['score']) and [[i + 1, j + 1] for i, j in pairs] == row['pairs']


@needs_golden
def test_dialogue_f1_follows_equation_7():
    for row in fixture('rewards.json')['rd']:
        assert dialogue.dialogue_f1(row['N'], row['M'], row.get('content', 0), row.get('speaker', 0)) == pytest.approx(row['value'])


@needs_golden
def test_length_reward_at_full_size():
    for tokens, value in fixture('rewards.json')['rl']:
        assert rewards.length_reward(tokens, 2048, 4096) == pytest.approx(value)


@needs_golden
def test_dialogues_align_as_in_the_reference():
    for row in fixture('dialogue.json')['rows']:
        matrix = [[dialogue.similarity(g, r) for r in row['reference']] for g in row['generated']]
        content, pairs = dialogue.align(matrix, row['gamma'])
        assert content == pytest.approx(row['content_score']) and [[i + 1, j + 1] for i, j in pairs] == row['pairs_1_based']
        value = dialogue.dialogue_f1(len(row['generated']), len(row['reference']), content, row['speaker_score'])
        assert value == pytest.approx(row['value'])


def test_advantages_use_the_unbiased_deviation_and_vanish_in_equal_groups():
    given = torch.tensor([[2.9, 2.75, 2.6, 2.6, 2.45, 2.3, 1.95, 0.85], [2.7] * 8], dtype=torch.float64)
    expected = [0.9179, 0.6884, 0.459, 0.459, 0.2295, 0, -0.5354, -2.2183]
    assert grpo.advantages(given)[0].tolist() == pytest.approx(expected, abs=1e-4)
    assert grpo.advantages(given)[1].tolist() == pytest.approx([0] * 8, abs=1e-4)


@pytest.mark.parametrize('text, loops', [
    ('The camera remains static. ' * 40, True), ('At first, the red circle spins. ' * 6, True),
    ('Ha ha ha ha ha ha ha ha!', False), ('On a plain gray background there is a small red circle on the left.', False)])
def test_loops_are_found(text, loops):
    assert repetition.collapsed(text) is loops
