"""Training reads what hard-shards.ts writes: captions as tokens, where to look and to listen, and the classes of every step."""
import json
import pathlib
import shutil
import subprocess

import numpy as np
import pytest
import torch

import auxiliary
import hard
import labels
import layout
import pool
import prompts
import tokenizer as tk
import train
import world
from model import Thinker

ROOT = pathlib.Path(__file__).parents[4]
RECIPE = pathlib.Path(__file__).parents[1]
LINES = ['go left', 'stop now please']
CLIPS, STEPS = 4, 8
SAMPLES_PER_TOKEN = 640      # 25 tokens of sound a second


def write_bank(path):
    """A bank in which every line is the same half second of noise."""
    noise = (np.random.default_rng(1).uniform(-0.5, 0.5, 8000) * 32767).astype(np.int16)
    np.save(f'{path}.npy', noise)
    pathlib.Path(f'{path}.json').write_text(json.dumps([[speaker, line, 0, len(noise)] for speaker in world.SPEAKERS for line in LINES]))
    pathlib.Path(f'{path}.lines.json').write_text(json.dumps(dict(trained=LINES, heldOut=LINES)))


def write_shard(directory):
    """The path of a shard that hard-shards.ts writes."""
    bank = directory / 'bank'
    write_bank(bank)
    given = [bank, bank, directory / 'shards', 5000, 1, '--steps', STEPS, '--clips', CLIPS]
    subprocess.run(['node', ROOT / 'node_modules/tsx/dist/cli.mjs', RECIPE / 'hard-shards.ts', *map(str, given)], check=True, cwd=ROOT)
    return str(directory / 'shards/000005000.safetensors')


@pytest.fixture(scope='module')
def shard(tmp_path_factory):
    if not shutil.which('node') or not (ROOT / 'node_modules/tsx').exists():
        pytest.skip('node or tsx is not installed')
    path = write_shard(tmp_path_factory.mktemp('hard'))
    return *pool.read_shard(path), path


@pytest.mark.parametrize('name, sound', [('on', True), ('off', False)])
def test_the_tokens_say_the_reference_caption_and_end(shard, name, sound):
    for ids, made in zip(shard[0][f'{name}_ids'], shard[1]):
        told = ids[ids >= 0].tolist()
        assert told[-1] == tk.END and tk.load().decode(told[:-1]) == pool.reference_of(made, sound)
        assert ('heard' in pool.reference_of(made, False)) is False


def test_a_shard_has_the_form_of_its_steps(shard):
    batch = shard[0]
    steps, rows, columns = pool.grid_of(batch)
    assert (len(batch['frames']), steps) == (CLIPS, STEPS)
    assert batch['cells'].shape == (CLIPS, steps, rows * columns, 4) and batch['scene'].shape == (CLIPS, steps, 4)
    assert batch['on_see'].shape == (*batch['on_ids'].shape, steps * rows * columns)
    for part, classes in enumerate(hard.TABLES.scene.values()):
        assert set(batch['scene'][..., part].unique().tolist()) <= {labels.IGNORED, *range(classes)}
    assert (batch['scene'][..., 3] != 0).any(1).all(), 'every clip has a cut or a fade, seen in one step or between two'


def test_words_for_an_object_look_where_it_is(shard):
    batch, seen = shard[0], 0
    cells = batch['cells'].flatten(1, 2)
    for clip, ids in enumerate(batch['on_ids']):
        for row, token in enumerate(ids[ids >= 0].tolist()):
            word = tk.load().decode([token]).strip()
            if word in world.SHAPES and batch['on_see'][clip, row].any():
                shown = set(cells[clip, batch['on_see'][clip, row], 0].tolist())
                assert shown <= {hard.SHAPES.index(word)}
                seen += 1
    assert seen > 4


def test_spoken_words_listen_where_something_sounds(shard):
    heard = 0
    for clip, hear in enumerate(shard[0]['on_hear']):
        for start, end in hear[hear[:, 0] >= 0].tolist():
            assert 0 <= start < end <= shard[0]['mel'].shape[2] // 4 + 4
            heard += 1
    assert heard > 4 and (shard[0]['off_hear'] < 0).all()


def test_clips_that_are_chosen_come_alone_and_alike(shard):
    whole, made_of, path = shard
    some, made = pool.read_shard(path, choose=lambda clips: [clips - 1, 2])
    assert made == [made_of[-1], made_of[2]]
    assert torch.equal(some['frames'], whole['frames'][[CLIPS - 1, 2]])


def test_a_seed_decides_a_shard(shard, tmp_path):
    with open(shard[2], 'rb') as one, open(write_shard(tmp_path), 'rb') as other:
        assert one.read() == other.read()


def test_the_losses_of_a_batch_are_finite_and_fall(shard):
    torch.manual_seed(1)
    batch = {name: value[:1] for name, value in shard[0].items()}
    thinker, probes = Thinker(), auxiliary.Probes(Thinker().config.width, hard.TABLES)
    run = type('Run', (), dict(model=thinker, probes=probes, rng=__import__('random').Random(1), share=0.5))()
    optimizer = torch.optim.AdamW([*thinker.parameters(), *probes.parameters()], lr=1e-3)
    totals = []
    for _ in range(3):
        run.rng.seed(1)
        loss, numbers = train.losses(run, batch, True)
        assert torch.isfinite(loss) and {'camera', 'transition', 'shape'} <= set(numbers)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        totals.append(loss.item())
    assert totals[-1] < totals[0]


def test_the_longest_clip_fits_the_context():
    grid = (60, 3, 5)
    assert layout.layout(grid, 60 * 25, prompts.AVOCADO[0]).ids.numel() + 1200 < 4096
