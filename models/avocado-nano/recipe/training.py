"""What both supervised stages share: optimizers, noise, learning rate, saved state, log."""
import json
import os
import random
import time

import torch
from torch import nn

import auxiliary
import features
from model import Thinker

WARM_UP = 500          # clips
PIXEL_NOISE = MEL_NOISE = 0.04


class Trainer:
    """Model, probes and optimizers with their clip counter; everything a run needs to go on where another stopped."""

    def __init__(self, directory, rate, tower_rate, state=None, fresh_optimizer=False):
        os.makedirs(directory, exist_ok=True)
        self.directory, self.rate, self.seen, self.started = directory, rate, 0, time.time()
        self.model, self.probes = Thinker(), auxiliary.Probes(Thinker().config.width)
        self.muon, self.adam = make_optimizers(self.model, self.probes, tower_rate / rate)
        if state:
            self._restore(torch.load(state, weights_only=False), fresh_optimizer)
        self.rng = random.Random(self.seen + 1)
        torch.manual_seed(self.seen + 1)

    def _restore(self, state, fresh_optimizer):
        self.model.load_state_dict(state['model'])
        self.probes.load_state_dict(state['probes'])
        if not fresh_optimizer:
            self.seen = state['seen']
            for optimizer, saved in ((self.muon, state['muon']), (self.adam, state['adam'])):
                shares = [group['share'] for group in optimizer.param_groups]      # this run's, not the saved one's
                optimizer.load_state_dict(saved)
                for group, share in zip(optimizer.param_groups, shares):
                    group['share'] = share

    def step(self, loss, clips, scale=1.0):
        """One update; `scale` is the schedule's share of the learning rate."""
        for optimizer in (self.muon, self.adam):
            for group in optimizer.param_groups:
                group['lr'] = self.rate * group['share'] * scale * min(1.0, (self.seen + clips) / WARM_UP)
        loss.backward()
        nn.utils.clip_grad_norm_([*self.model.parameters(), *self.probes.parameters()], 1.0)
        for optimizer in (self.muon, self.adam):
            optimizer.step()
            optimizer.zero_grad()
        self.seen += clips

    def save(self, name='state.pt'):
        """Weights, probes, optimizers and counter, replaced in one go."""
        path = f'{self.directory}/{name}'
        state = {part: getattr(self, part).state_dict() for part in ('model', 'probes', 'muon', 'adam')}
        torch.save(dict(state, seen=self.seen), path + '.part')
        os.rename(path + '.part', path)

    def log(self, **row):
        """One line of JSON in log.jsonl."""
        row = dict(seen=self.seen, minutes=round((time.time() - self.started) / 60, 2), **row)
        with open(f'{self.directory}/log.jsonl', 'a') as file:
            file.write(json.dumps(row) + '\n')


class Averages:
    """Running means of named numbers."""

    def __init__(self):
        self.values = {}

    def add(self, numbers):
        for name, value in numbers.items():
            self.values[name] = 0.95 * self.values.get(name, value) + 0.05 * value

    def rounded(self):
        return {name: round(value, 4) for name, value in self.values.items()}


def make_optimizers(model, probes, tower_share):
    """Muon for the matrices inside blocks, AdamW for the rest; `share` is a group's part of the learning rate."""
    groups = {}
    for name, parameter in [*model.named_parameters(), *probes.named_parameters()]:
        matrix = parameter.dim() == 2 and any(part in name for part in ('layers.', 'blocks.', 'merger.mlp'))
        tower = name.startswith(('visual', 'audio_tower'))
        groups.setdefault((matrix, tower), []).append(parameter)
    of = lambda matrix: [dict(params=groups[matrix, tower], share=tower_share if tower else 1.0) for tower in (False, True)]
    muon = torch.optim.Muon(of(True), lr=1e-3, weight_decay=0.02, momentum=0.95, adjust_lr_fn='match_rms_adamw')
    return muon, torch.optim.AdamW(of(False), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01)


def noisy_patches(frames):
    """uint8 [n, 2 * steps, h, w, 3] → [n, steps, patches, 1176], with the noise that stands for codecs and cameras."""
    patches = torch.stack([features.patches_of(clip) for clip in frames])
    shape = (len(frames), 1, 1, 1)
    return patches * (1 + 0.05 * torch.randn(shape)) + 0.04 * torch.randn(shape) + PIXEL_NOISE * torch.randn_like(patches)


def noisy_mel(mel):
    """Log-mel with a little noise and a different loudness for each clip."""
    return mel + 0.05 * torch.randn(len(mel), 1, 1) + MEL_NOISE * torch.randn_like(mel)
