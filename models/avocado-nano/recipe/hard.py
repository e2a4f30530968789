"""The hard level: shards of hard-shards.ts as training batches. What a clip is made of: {'on': pieces, 'off': pieces, 'sounds': names}.

A piece is [text, cells to look at, first and last token to listen to]; the joined texts are the reference caption with and without sound.
"""
import bisect
import itertools
import json

import torch

import features
import labels
import tokenizer as tk
import world

_HARD = world.HARD
SHAPES = (*labels.SHAPES, *_HARD['figures'])
ACTIONS = (*labels.ACTIONS, *_HARD['passes'], 'figure', 'speech')
CAMERAS, TRANSITIONS = ('none', *_HARD['cameras']), ('none', *_HARD['transitions'])
SOUNDS = (*labels.AUDIO_CLASSES, *_HARD['sounds'])
TABLES = labels.Tables(dict(shape=len(SHAPES), color=len(labels.COLORS), action=len(ACTIONS), size=len(labels.SIZES)),
                       dict(labels.EASY.scene, camera=len(CAMERAS), transition=len(TRANSITIONS)), SOUNDS)
NAMES = dict(shapes=SHAPES, colors=labels.COLORS, actions=ACTIONS, sizes=labels.SIZES, cameras=CAMERAS, transitions=TRANSITIONS)


def reference_of(made, sound=True):
    """The reference caption of a clip."""
    return ''.join(piece[0] for piece in made['on' if sound else 'off'])


def answer_of(pieces, cells):
    """ids [n], ending with the end token; see [n, cells], what to look at among all `cells` of the clip; hear [n, 2], what to listen to."""
    starts = list(itertools.accumulate((len(text) for text, _, _ in pieces), initial=0))
    encoded = tk.load().encode(''.join(text for text, _, _ in pieces))
    rows = len(encoded.ids) + 1
    see, hear = torch.zeros(rows, cells, dtype=torch.bool), torch.full((rows, 2), -1, dtype=torch.int16)
    for row, (offset, _) in enumerate(encoded.offsets):
        _, seen, heard = pieces[bisect.bisect_right(starts, offset) - 1]
        see[row, torch.tensor([cell for cell in seen if cell < cells], dtype=torch.long)] = True
        if heard:
            hear[row] = torch.tensor(heard)
    return torch.tensor([*encoded.ids, tk.END], dtype=torch.int16), see, hear


def pad(tensors, value):
    """Stacks tensors that differ in the length of their first axis."""
    longest = max(len(tensor) for tensor in tensors)
    out = torch.full((len(tensors), longest, *tensors[0].shape[1:]), value, dtype=tensors[0].dtype)
    for row, tensor in zip(out, tensors):
        row[:len(tensor)] = tensor
    return out


def read_shard(file, device, choose=None):
    """What pool.read_shard returns, of an open file of hard-shards.ts."""
    metadata = file.metadata()
    tables = {name: tuple(values) for name, values in json.loads(metadata['tables']).items()}
    if tables != NAMES:
        raise ValueError('This shard was made with other tables: make it anew with hard-shards.ts.')
    made_of = json.loads(metadata['clips'])
    chosen = choose(len(made_of)) if choose else list(range(len(made_of)))
    made_of = [made_of[number] for number in chosen]
    shard = {name: file.get_tensor(name)[chosen] for name in file.keys()}
    shard['mel'] = features.log_mel(shard.pop('wave').float() / 32767).half()
    cells = shard['cells'].shape[1] * shard['cells'].shape[2]
    for name in ('on', 'off'):
        ids, see, hear = zip(*(answer_of(made[name], cells) for made in made_of))
        shard |= {f'{name}_ids': pad(ids, -1), f'{name}_see': pad(see, False), f'{name}_hear': pad(hear, -1)}
    shard['sounds'] = pad([torch.tensor([SOUNDS.index(sound) for sound in made['sounds']], dtype=torch.int16) for made in made_of], -1)
    return {name: value.to(device) for name, value in shard.items()}, made_of
