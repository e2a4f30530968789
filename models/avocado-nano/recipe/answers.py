"""From a batch to one training example: the prompt, the captions as tokens, and where each caption token should look."""
import bisect
import functools
import itertools

import torch

import auxiliary
import caption
import layout
import tokenizer as tk

IGNORED = -100
KINDS = ('see', 'hear')


@functools.lru_cache(512)
def prompt_of(tokenizer_path, grid, audio, prompt):
    """layout.layout, remembered: most batches repeat a geometry and a prompt."""
    return layout.layout(_tokenizer(tokenizer_path), grid, audio, prompt)


@functools.cache
def _tokenizer(path):
    return tk.load(path)


def answers_of(tokenizer, batch, sound, video_at, audio_at, prompt_length):
    """inputs [batch, n], targets [batch, n] and look masks {kind: [batch, n, prompt]}; row i answers what follows token i - 1."""
    rows = []
    for clip, script in enumerate(batch['script']):
        pieces = caption.segments_of(script, sound)
        starts = list(itertools.accumulate((len(text) for text, _ in pieces), initial=0))
        encoded = tokenizer.encode(''.join(text for text, _ in pieces))
        subjects = [pieces[bisect.bisect_right(starts, offset[0]) - 1][1] for offset in encoded.offsets]
        rows.append((encoded.ids + [tk.END], subjects))
    longest = max(len(ids) for ids, _ in rows)
    inputs = torch.full((len(rows), longest), tk.PAD)
    targets = torch.full((len(rows), longest), IGNORED)
    looks = {kind: torch.zeros(len(rows), longest, prompt_length, dtype=torch.bool) for kind in KINDS}
    for clip, (ids, subjects) in enumerate(rows):
        inputs[clip, :len(ids)] = targets[clip, :len(ids)] = torch.tensor(ids)
        for subject in set(subjects) - {None}:
            told = torch.tensor([k for k, s in enumerate(subjects) if s == subject])
            keys = auxiliary.where_to_look(batch['script'][clip], batch['homes'][clip], batch['spans'][clip], batch['times'][clip],
                                           batch['grid'], video_at, audio_at, subject)
            silent = subject[0] == 'object' or batch['script'][clip]['events'][subject[1]]['kind'] == 'visual'
            if keys:
                looks['see' if silent else 'hear'][clip, told[:, None], torch.tensor(keys)[None]] = True
    return inputs, targets, looks
