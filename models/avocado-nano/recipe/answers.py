"""The reference caption as training targets: its tokens, and for each token the place in the clip that the decoder should attend to."""
import bisect
import itertools

import numpy as np

import caption
import tokenizer as tk

NOWHERE = -1
TOKENS_PER_SECOND = 25               # of sound
WORD_MARGIN = 0.12                   # seconds
ACTING_FROM = 0.05                   # seconds of an event that must lie between a step's two frames


def answer_of(script, tokenizer, clip, sound):
    """ids [n], ending with the end token; see [n, steps], the cell to look at in each step; hear [n, 2], the range of sound tokens to listen to.

    `clip` has the homes [steps, objects] of labels.cells_of, the times of the frames, and the spans of the sounds in seconds.
    """
    pieces = caption.segments_of(script, sound)
    starts = list(itertools.accumulate((len(text) for text, _ in pieces), initial=0))
    encoded = tokenizer.encode(''.join(text for text, _ in pieces))
    subjects = [pieces[bisect.bisect_right(starts, offset[0]) - 1][1] for offset in encoded.offsets] + [None]
    steps = len(clip['homes'])
    see, hear = np.full((len(subjects), steps), NOWHERE, np.int8), np.full((len(subjects), 2), NOWHERE, np.int16)
    for row, subject in enumerate(subjects):
        if subject is None:
            continue
        if subject[0] == 'object' or script['events'][subject[1]]['kind'] == 'visual':
            see[row] = _cells_to_see(script, clip, subject)
        else:
            hear[row] = _tokens_to_hear(script, clip, subject)
    return np.array([*encoded.ids, tk.END], np.int16), see, hear


def _cells_to_see(script, clip, subject):
    """The cells of an object in the first steps; for an event, the cells of its object while it lasts."""
    kind, number = subject[:2]
    steps = np.arange(len(clip['homes']))
    if kind == 'object':
        return np.where(steps < 2, clip['homes'][:, number], NOWHERE)
    event = script['events'][number]
    acting = np.minimum(clip['times'][1::2], event['end']) - np.maximum(clip['times'][::2], event['start']) > ACTING_FROM
    return np.where(acting, clip['homes'][:, event['object']], NOWHERE)


def _tokens_to_hear(script, clip, subject):
    """The span of a sound; for a spoken word, its share of the line, assuming an even pace."""
    kind, number, *characters = subject
    start, end = clip['spans'][number]
    if kind == 'words':
        pace = (end - start) / len(script['events'][number]['text'])
        start, end = start + pace * characters[0] - WORD_MARGIN, start + pace * characters[1] + WORD_MARGIN
    return max(0, int(start * TOKENS_PER_SECOND)), int(end * TOKENS_PER_SECOND) + 1
