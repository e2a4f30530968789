"""Heads for training only: what each visual token shows, which sounds come in which order, and where the decoder should attend. Never exported."""
import torch
import torch.nn.functional as F
from torch import nn

import labels
import world

EMPTY_WEIGHT = 0.12                  # most cells are empty; without a low weight the other classes are not learnt
IMPORTANCE = {'shape': 2.0}          # learnt most slowly
PARTS = {'shape': len(labels.SHAPES), 'color': len(labels.COLORS), 'action': len(labels.ACTIONS), 'size': len(labels.SIZES)}
MOST_CELLS = 5                       # along a side
PLACES = {'row': MOST_CELLS, 'column': MOST_CELLS}
SCENE = {'background': len(world.BACKGROUNDS) * len(world.TEXTURES), 'word': 1 + len(world.SCREEN_WORDS)}


class Probes(nn.Module):
    """Linear probes on the outputs of the towers."""

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
            weight = torch.ones(classes, device=seen.device)
            weight[0] = EMPTY_WEIGHT
            target = torch.where(shown, truth[:, part], labels.IGNORED) if name == 'action' else truth[:, part]      # only objects can act
            error = F.cross_entropy(read[part], target, weight, ignore_index=labels.IGNORED)
            loss = loss + IMPORTANCE.get(name, 1.0) * error
            scores[name] = accuracy(read[part], truth[:, part], shown & (truth[:, part] > 0))
        place = torch.arange(grid[1] * grid[2], device=seen.device).repeat(seen.shape[0])
        loss = loss + 0.2 * (F.cross_entropy(read[4], place // grid[2]) + F.cross_entropy(read[5], place % grid[2]))
        scores['column'] = accuracy(read[5], place % grid[2], shown)
        background, word = self.scene(seen.mean(1)).float().split(list(SCENE.values()), -1)
        loss = loss + 0.3 * (F.cross_entropy(background, scene[:, 0]) + F.cross_entropy(word, scene[:, 1]))
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


def look_masks(see, hear, cells, video_at, audio_at, keys):
    """Masks [batch, rows, keys] of the places to look at and to listen to, from the cells and ranges of answers.answer_of.

    `video_at`, `audio_at` are the positions of the clip's tokens among the keys.
    """
    shown = torch.zeros(*see.shape[:2], keys, dtype=torch.bool, device=see.device)
    shown[..., video_at] = (see[..., None] == torch.arange(cells, device=see.device)).flatten(2)
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
