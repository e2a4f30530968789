"""A run: model, probes, optimizers, learning rate by the clock, saved state, log; the clock of all runs."""
import json
import os
import random
import time

import torch
from safetensors.torch import load_file
from torch import nn

import auxiliary
import features
import labels
from model import Thinker

WARM_UP = 60                  # steps
PIXEL_NOISE = MEL_NOISE = 0.04
BLURRED = 0.5                 # share of batches with colours at half resolution, as video codecs store them


class Clock:
    """Minutes of training. On a CPU they are minutes of work by all threads, so that a run which shares the machine loses nothing and runs
    side by side get the same amount of work; on a GPU they are minutes on the wall."""

    def __init__(self, device):
        self.share = 1 / torch.get_num_threads() if device == 'cpu' else 1
        self.now = time.process_time if device == 'cpu' else time.time
        self.started = self.now()

    @property
    def minutes(self):
        """Since the clock was made."""
        return (self.now() - self.started) * self.share / 60


class Run:
    """All state of a run, so that a stopped run can continue. Its length is a time, at the end of which the learning rate is 0."""

    def __init__(self, directory, minutes, rate, hold, device, state=None, tables=labels.EASY, seed=1):
        os.makedirs(directory, exist_ok=True)
        self.directory, self.minutes, self.rate, self.hold, self.device = directory, minutes, rate, hold, device
        self.clips = self.steps = 0
        self.spent = 0.0          # minutes, of earlier parts of the run
        torch.manual_seed(seed)
        self.model, self.probes = Thinker().to(device), auxiliary.Probes(Thinker().config.width, tables).to(device)
        self.muon, self.adam = make_optimizers(self.model, self.probes)
        self.averages, self.clock = {}, Clock(device)
        if state:
            self._restore(read_state(state, device))
        self.rng = random.Random(self.steps + seed)
        torch.manual_seed(self.steps + seed)

    def _restore(self, state):
        for part in ('model', 'probes', 'muon', 'adam'):
            if part in state:
                getattr(self, part).load_state_dict(state[part])
        self.clips, self.steps, self.spent = (state.get(name, 0) for name in ('clips', 'steps', 'spent'))

    @property
    def elapsed(self):
        """Minutes of training so far."""
        return self.spent + self.clock.minutes

    @property
    def share(self):
        """The elapsed share of the run's time."""
        return self.elapsed / self.minutes

    def step(self, loss, clips):
        """One update."""
        falling = min(1.0, max(0.0, (1 - self.share) / (1 - self.hold)))
        for optimizer in (self.muon, self.adam):
            for group in optimizer.param_groups:
                group['lr'] = self.rate * falling * min(1.0, (self.steps + 1) / WARM_UP)
        loss.backward()
        nn.utils.clip_grad_norm_([*self.model.parameters(), *self.probes.parameters()], 1.0)
        for optimizer in (self.muon, self.adam):
            optimizer.step()
            optimizer.zero_grad()
        self.steps += 1
        self.clips += clips

    def save(self, name='state.pt', whole=True):
        """Weights, probes, optimizers and counters, written atomically; without `whole`, the weights alone in bf16."""
        path = f'{self.directory}/{name}'
        if whole:
            parts = {part: getattr(self, part).state_dict() for part in ('model', 'probes', 'muon', 'adam')}
            torch.save(dict(parts, clips=self.clips, steps=self.steps, spent=self.elapsed), path + '.part')
        else:
            torch.save(dict(model={key: value.bfloat16().cpu() for key, value in self.model.state_dict().items()}), path + '.part')
        os.rename(path + '.part', path)

    def note(self, numbers):
        """Updates the running means; the numbers stay on the device until they are logged."""
        for name, value in numbers.items():
            value = torch.as_tensor(value).detach().float()
            self.averages[name] = 0.95 * self.averages.get(name, value) + 0.05 * value

    def log(self, **row):
        """One line of JSON in log.jsonl and on the terminal."""
        means = {name: round(float(value), 4) for name, value in self.averages.items()}
        row = dict(clips=self.clips, steps=self.steps, minutes=round(self.elapsed, 2), **row, **means)
        print(json.dumps(row), flush=True)
        with open(f'{self.directory}/log.jsonl', 'a') as file:
            file.write(json.dumps(row) + '\n')


def read_state(path, device='cpu'):
    """What Run.save wrote, or the weights of a package (model.safetensors)."""
    if path.endswith('.safetensors'):
        return dict(model={name.removeprefix('thinker.'): value.float() for name, value in load_file(path, device).items()})
    return torch.load(path, map_location=device)


def make_optimizers(model, probes):
    """Muon for the matrices inside blocks, AdamW for the rest."""
    named = [*model.named_parameters(), *probes.named_parameters()]
    inside = [p for name, p in named if p.dim() == 2 and any(part in name for part in ('layers.', 'blocks.', 'merger.mlp'))]
    known = set(map(id, inside))
    muon = torch.optim.Muon(inside, lr=1e-3, weight_decay=0.02, momentum=0.95, adjust_lr_fn='match_rms_adamw')
    return muon, torch.optim.AdamW([p for _, p in named if id(p) not in known], lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01)


def noisy_patches(frames):
    """uint8 [n, 2 * steps, h, w, 3] → [n, steps, patches, 1176], with distortions of codecs and cameras."""
    frames = frames.float()
    if torch.rand(()) < BLURRED:
        frames = blur_colours(frames)
    patches = features.patches_of(frames)
    shape = (len(frames), 1, 1, 1)
    contrast, light = (torch.randn(shape, device=patches.device) for _ in range(2))
    return patches * (1 + 0.05 * contrast) + 0.04 * light + PIXEL_NOISE * torch.randn_like(patches)


def blur_colours(frames):
    """Averages colour differences over 2 x 2 pixels and keeps the brightness."""
    brightness = frames @ torch.tensor([0.299, 0.587, 0.114], device=frames.device)
    colour = (frames - brightness[..., None]).flatten(0, 1).permute(0, 3, 1, 2)
    blurred = nn.functional.interpolate(nn.functional.avg_pool2d(colour, 2), scale_factor=2, mode='nearest')
    return (blurred.permute(0, 2, 3, 1).view(frames.shape) + brightness[..., None]).clamp(0, 255)


def noisy_mel(mel):
    """Log-mel with a little noise and a different loudness for each clip."""
    loudness = 0.05 * torch.randn(len(mel), 1, 1, device=mel.device)
    return mel.float() + loudness + MEL_NOISE * torch.randn_like(mel, dtype=torch.float32)
