"""Training-only heads: what each visual token shows, what is heard in which order, and where the decoder should look. Never exported."""
import torch
import torch.nn.functional as F
from torch import nn

import labels
import world

EMPTY_WEIGHT = 0.12                  # most cells show nothing: weight them down or the rest is never learnt
IMPORTANCE = {'shape': 2.0}          # the slowest to learn
PARTS = {'shape': len(labels.SHAPES), 'color': len(labels.COLORS), 'action': len(labels.ACTIONS), 'size': len(labels.SIZES)}
TOKENS_PER_SECOND = 25               # of sound
WORD_MARGIN = 0.12                   # seconds
MOST_CELLS = 5                       # along a side
PLACES = {'row': MOST_CELLS, 'column': MOST_CELLS}
SCENE = {'background': len(world.BACKGROUNDS) * len(world.TEXTURES), 'word': 1 + len(world.SCREEN_WORDS)}


class Probes(nn.Module):
    """Linear readings of the towers' outputs."""

    def __init__(self, width):
        super().__init__()
        self.cell = nn.Linear(width, sum(PARTS.values()) + sum(PLACES.values()))
        self.scene = nn.Linear(width, sum(SCENE.values()))
        self.sound = nn.Linear(width, len(labels.AUDIO_CLASSES))

    def vision_loss(self, seen, grid, cells, scene):
        """seen [n, cells, width] of single steps; cells [n, cells, 4]; scene [n, 2] → loss, accuracies."""
        read = self.cell(seen).float().flatten(0, 1).split([*PARTS.values(), *PLACES.values()], -1)
        truth, loss, scores = cells.flatten(0, 1), 0.0, {}
        shown = truth[:, 0] > 0
        for part, (name, classes) in enumerate(PARTS.items()):
            weight = torch.ones(classes)
            weight[0] = EMPTY_WEIGHT
            rows = shown if name == 'action' else slice(None)        # only objects can act
            error = F.cross_entropy(read[part][rows], truth[rows, part], weight, ignore_index=labels.IGNORED)
            loss = loss + IMPORTANCE.get(name, 1.0) * error
            counted = shown & (truth[:, part] > 0)
            scores[name] = accuracy(read[part][counted], truth[counted, part])
        place = torch.arange(grid[1] * grid[2]).repeat(seen.shape[0])
        loss = loss + 0.2 * (F.cross_entropy(read[4], place // grid[2]) + F.cross_entropy(read[5], place % grid[2]))
        scores['column'] = accuracy(read[5][shown], (place % grid[2])[shown])
        background, word = self.scene(seen.mean(1)).float().split(list(SCENE.values()), -1)
        loss = loss + 0.3 * (F.cross_entropy(background, scene[:, 0]) + F.cross_entropy(word, scene[:, 1]))
        return loss, scores

    def audio_loss(self, heard, sequences):
        """heard [batch, tokens, width] → CTC loss per sequence."""
        logp = self.sound(heard).float().log_softmax(-1).transpose(0, 1)
        targets = torch.tensor([c for s in sequences for c in s] or [1])
        return F.ctc_loss(logp, targets, torch.full((heard.shape[0],), logp.shape[0]), torch.tensor([len(s) for s in sequences]), zero_infinity=True)


def accuracy(read, truth):
    """Share of rows whose largest reading is the truth; 1 when there are none."""
    return (read.argmax(-1) == truth).float().mean().item() if len(truth) else 1.0


def where_to_look(script, homes, spans, times, grid, video_at, audio_at, subject):
    """Prompt positions that a caption piece about `subject` is about: an object's cells, while it acts if it does, or a sound's tokens."""
    kind, number, *characters = subject
    cells = grid[1] * grid[2]
    if kind == 'object':
        return [video_at[step * cells + homes[step][number]] for step in range(min(2, grid[0])) if homes[step][number] >= 0]
    event = script['events'][number]
    if event['kind'] == 'visual':
        index = event['object']
        return [video_at[step * cells + homes[step][index]] for step in range(grid[0])
                if homes[step][index] >= 0 and min(times[2 * step + 1], event['end']) - max(times[2 * step], event['start']) > 0.05]
    start, end = spans[number]
    if kind == 'words':      # spoken at an even pace, roughly
        pace = (end - start) / len(event['text'])
        start, end = start + pace * characters[0] - WORD_MARGIN, start + pace * characters[1] + WORD_MARGIN
    return audio_at[max(0, int(start * TOKENS_PER_SECOND)):int(end * TOKENS_PER_SECOND) + 1]


def look_loss(probabilities, mask):
    """Mean of -log of the attention [batch, rows, keys] that falls where `mask` is true, over the rows that have a place to look at."""
    asked = mask.any(-1)
    caught = (probabilities.float() * mask).sum(-1)[asked]
    return -(caught + 1e-4).log().mean() if len(caught) else torch.zeros(())
