"""Training reads what a shard was written with: the caption as tokens, and where to look and listen for each of them."""
import numpy as np
import pytest
import torch

import caption
import labels
import pool
import shards
import tokenizer as tk
import world
from one_voice import OneVoice, sample

SAMPLES_PER_TOKEN = 640      # 25 tokens of sound a second


@pytest.fixture(scope='module', params=world.SIZES.values(), ids=world.SIZES)
def made_of(request):
    return [sample(seed, duration=8.5, fps=25, size=request.param) for seed in range(12)]


@pytest.fixture(scope='module')
def shard(made_of, tmp_path_factory):
    path = str(tmp_path_factory.mktemp('shard') / 'shard.safetensors')
    shards.write_shard(path, made_of, OneVoice(), tk.load(), states=True)
    return *pool.read_shard(path), path


def answers(shard, name):
    """(tokens, where to look, where to listen) of every clip, without the padding."""
    for ids, see, hear in zip(*(shard[f'{name}_{part}'] for part in ('ids', 'see', 'hear'))):
        count = int((ids >= 0).sum())
        yield ids[:count].tolist(), see[:count], hear[:count]


@pytest.mark.parametrize('name, sound', [('on', True), ('off', False)])
def test_the_tokens_say_the_reference_caption_and_end(shard, made_of, name, sound):
    told = [ids for ids, _, _ in answers(shard[0], name)]
    assert [tk.load().decode(ids[:-1]) for ids in told] == [caption.caption_of(script, sound) for script in made_of]
    assert {ids[-1] for ids in told} == {tk.END}


def test_the_scripts_come_back(shard, made_of):
    assert shard[1] == made_of


def test_clips_that_are_chosen_come_alone_and_alike(shard):
    whole, made_of, path = shard
    some, scripts = pool.read_shard(path, choose=lambda clips: [clips - 1, 3])
    assert scripts == [made_of[-1], made_of[3]]
    assert all(torch.equal(some[key], whole[key][[len(made_of) - 1, 3]]) for key in whole)


def test_words_for_an_object_look_where_it_is(shard):
    seen = 0
    for clip, (ids, see, _) in enumerate(answers(shard[0], 'on')):
        words = [tk.load().decode([token]).strip() for token in ids]
        for word, cells in zip(words, see):
            if word in world.SHAPES:
                steps = (cells >= 0).nonzero()[:, 0]
                shapes = shard[0]['cells'][clip, steps, cells[steps].long(), 0]
                assert set(shapes.tolist()) <= {labels.SHAPES.index(word)}
                seen += len(steps)
    assert seen > 50


def test_spoken_words_listen_where_something_sounds(made_of):
    clips = [shards.make_clip(script, OneVoice(), tk.load()) for script in made_of]
    heard = 0
    for clip in clips:
        for start, end in clip['on_hear'][clip['on_hear'][:, 0] >= 0].tolist():
            piece = clip['wave'][start * SAMPLES_PER_TOKEN:end * SAMPLES_PER_TOKEN] / 32767
            assert np.sqrt(np.mean(piece ** 2)) > 0.02
            heard += 1
    assert heard > 50 and all((clip['off_hear'] < 0).all() for clip in clips)


def test_frames_drawn_by_the_reader_are_those_drawn_by_the_writer(shard, made_of):
    drawn = torch.from_numpy(np.stack([shards.make_clip(script, OneVoice(), tk.load(), states=False)['frames'] for script in made_of[:4]]))
    assert (shard[0]['frames'][:4].int() - drawn.int()).abs().max() <= 1


def test_a_seed_decides_a_shard():
    assert shards.scripts_of(5000, OneVoice.trained) == shards.scripts_of(5000, OneVoice.trained)
    assert len({script['duration'] for script in shards.scripts_of(5000, OneVoice.trained)}) == 1
