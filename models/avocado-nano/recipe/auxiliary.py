"""Heads for training only: what each visual token shows, which sounds come in which order, and where the decoder should attend. Never exported."""
import torch
import torch.nn.functional as F
from torch import nn

import labels

EMPTY_WEIGHT = 0.12                  # most cells are empty; without a low weight the other classes are not learnt
IMPORTANCE = {'shape': 2.0}          # learnt most slowly
MOST_CELLS = 5                       # along a side
PLACES = {'row': MOST_CELLS, 'column': MOST_CELLS}


class Probes(nn.Module):
    """Linear probes on the outputs of the towers, for the classes of a labels.Tables."""

    def __init__(self, width, tables=labels.EASY):
        super().__init__()
        self.tables = tables
        self.cell = nn.Linear(width, sum(tables.parts.values()) + sum(PLACES.values()))
        self.scene = nn.Linear(width, sum(tables.scene.values()))
        self.sound = nn.Linear(width, len(tables.sounds))

    def vision_loss(self, seen, grid, cells, scene):
        """seen [n, cells, width] of single steps; cells [n, cells, 4]; scene [n, classes of the scene] → loss, accuracies."""
        read = self.cell(seen).float().flatten(0, 1).split([*self.tables.parts.values(), *PLACES.values()], -1)
        truth, loss, scores = cells.flatten(0, 1), 0.0, {}
        shown = truth[:, 0] > 0
        for part, (name, classes) in enumerate(self.tables.parts.items()):
            weight = torch.ones(classes, device=seen.device)
            weight[0] = EMPTY_WEIGHT
            target = torch.where(shown, truth[:, part], labels.IGNORED) if name == 'action' else truth[:, part]      # only objects can act
            error = F.cross_entropy(read[part], target, weight, ignore_index=labels.IGNORED)
            loss = loss + IMPORTANCE.get(name, 1.0) * error
            scores[name] = accuracy(read[part], truth[:, part], shown & (truth[:, part] > 0))
        place = torch.arange(grid[1] * grid[2], device=seen.device).repeat(seen.shape[0])
        loss = loss + 0.2 * (F.cross_entropy(read[4], place // grid[2]) + F.cross_entropy(read[5], place % grid[2]))
        scores['column'] = accuracy(read[5], place % grid[2], shown)
        told = self.scene(seen.mean(1)).float().split(list(self.tables.scene.values()), -1)
        for part, (name, read_as) in enumerate(zip(self.tables.scene, told)):
            loss = loss + 0.3 * F.cross_entropy(read_as, scene[:, part], ignore_index=labels.IGNORED)
            scores[name] = accuracy(read_as, scene[:, part], scene[:, part] > 0)
        return loss, scores

    def audio_loss(self, heard, sounds):
        """heard [batch, tokens, width], sounds [batch, longest] padded with -1 → CTC loss per sequence."""
        logp = self.sound(heard).float().log_softmax(-1).transpose(0, 1)
        tokens = torch.full((heard.shape[0],), logp.shape[0], device=heard.device)
        if not sounds.shape[1]:
            return -logp[..., 0].sum(0).mean()
        return F.ctc_loss(logp, sounds.clamp(min=0), tokens, (sounds >= 0).sum(1), zero_infinity=True)


def accuracy(read, truth, counted):
    """Accuracy over the rows `counted`, as a tensor: reading the number would synchronise the device."""
    return ((read.argmax(-1) == truth) & counted).sum() / counted.sum().clamp(min=1)


def cells_shown(see, cells):
    """The cell to look at in each step [..., steps] → which of all cells [..., steps * cells]."""
    return (see[..., None] == torch.arange(cells, device=see.device)).flatten(-2)


def look_masks(see, hear, video_at, audio_at, keys):
    """Masks [batch, rows, keys] of the places to look at, from the cells [batch, rows, steps * cells], and to listen to, from ranges [batch, rows, 2].

    `video_at`, `audio_at` are the positions of the clip's tokens among the keys.
    """
    shown = torch.zeros(*see.shape[:2], keys, dtype=torch.bool, device=see.device)
    shown[..., video_at] = see
    sounding = torch.zeros_like(shown)
    if len(audio_at):
        token = torch.arange(len(audio_at), device=see.device)
        sounding[..., audio_at] = (hear[..., :1] <= token) & (token < hear[..., 1:])
    return {'see': shown, 'hear': sounding}


def look_loss(probabilities, mask):
    """Mean of -log of the attention [batch, rows, keys] that falls where `mask` is true, over the rows that have such a place."""
    asked = mask.any(-1)
    caught = (probabilities.float() * mask).sum(-1)
    return (-(caught + 1e-4).log() * asked).sum() / asked.sum().clamp(min=1)
