"""Stage 2: GRPO (paper Eq. 1-2). Groups of sampled captions, rewards from the project's service, KL to the supervised model.

Decoder and adapters (the towers' last projections) are trained, the encoders are not (paper, App. C).

usage: python grpo.py RUN STEPS 'SHARDS/*.safetensors ...' --state STATE.pt --rewards URL [--clips N] [--rate R] [--device cuda] [--minutes M]
                      [--use R_C,R_D,R_L,R_P] [--seed N] [--most-tokens N]
R = R_C + R_D + R_L, and R_P, one minus the share of false claims, which is ours: without it, false claims cost a caption nothing. --use names
those that count.
Stops after STEPS or MINUTES, whichever comes first.
"""
import argparse
import copy
import json
import os
import random

import torch

import features
import pool
import prompts
import tokenizer as tk
import training
from generate import generate, read_prompt
from model import Thinker
from rewards import NAMES, Rewards

GROUP, BETA, TEMPERATURE = 8, 0.04, 1.0
TRAINED = ('model.', 'lm_head', 'visual.merger', 'audio_tower.proj', 'audio_tower.ln_post')
WARM_UP = 10                       # steps
SOUNDLESS = 0.1                    # of the batches: sound off
FALL = 0.7                         # share of the steps after which the rate starts to fall to 0


def advantages(totals):
    """Eq. 1 over the last axis, with the unbiased deviation; in a group of equal rewards every advantage is 0."""
    return (totals - totals.mean(-1, keepdim=True)) / (totals.std(-1, keepdim=True) + 1e-4)


def log_probabilities(thinker, seen, heard, grid, prompt, written):
    """log p [clips * GROUP, n] of every generated token; the prompt of each clip is run once."""
    first, caches, after = read_prompt(thinker, seen, heard, grid, prompt, GROUP)
    at = (after + torch.arange(written.shape[1] - 1, device=written.device)).expand(3, -1)
    rest = thinker.model(thinker.model.embed_tokens(written[:, :-1]).to(first.dtype), at, caches)
    logits = thinker.lm_head(torch.cat([first[:, None], rest], 1)).float()
    return logits.log_softmax(-1).gather(-1, written[..., None])[..., 0]


def roll_out(thinker, seen, heard, grid, prompt, references, service, most):
    """Sampled captions: padded ids [n, longest], mask of the real ones, rewards [n, 4] and their totals [n]."""
    ids = generate(thinker, seen, heard, grid, prompt, most, TEMPERATURE, GROUP)
    earned = service.of([tk.load().decode(row) for row in ids], [len(row) for row in ids], [r for r in references for _ in range(GROUP)])
    ended = [row + [tk.END] if len(row) < most else row for row in ids]
    written = torch.full((len(ended), max(map(len, ended))), tk.PAD)
    for k, row in enumerate(ended):
        written[k, :len(row)] = torch.tensor(row)
    lengths = torch.tensor([len(row) for row in ended])
    mask = torch.arange(written.shape[1]) < lengths[:, None]
    totals = torch.tensor([item['total'] for item in earned], dtype=torch.float64)      # float64, so that equal rewards have equal means
    return written.to(seen.device), mask.to(seen.device), earned, totals


def objective(log_p, log_p_reference, advantage, mask):
    """Eq. 2 at the sampling policy, where no ratio is clipped, and the mean K3 estimate of the KL divergence."""
    ratio = (log_p - log_p.detach()).exp()
    gap = log_p_reference - log_p
    divergence = gap.exp() - gap - 1
    per_token = (ratio * advantage[:, None] - BETA * divergence) * mask
    return (per_token.sum(1) / mask.sum(1)).mean(), (divergence * mask).sum() / mask.sum()


def encode(thinker, batch, grid, sound):
    """Outputs of the towers (seen, heard); heard is None with sound off."""
    return thinker.look(features.patches_of(batch['frames']), grid), thinker.audio_tower(batch['mel'].float()) if sound else None


def sample_batch(shards, count, rng, device):
    """(shard of `count` clips, their reference captions, whether sound is on)."""
    batch, made_of = pool.read_shard(rng.choice(shards), device, lambda clips: rng.sample(range(clips), min(count, clips)))
    sound = rng.random() >= SOUNDLESS
    return batch, [pool.reference_of(made, sound) for made in made_of], sound


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('run'), parser.add_argument('steps', type=int), parser.add_argument('shards')
    parser.add_argument('--state', required=True), parser.add_argument('--rewards', default='http://127.0.0.1:8100')
    parser.add_argument('--clips', type=int, default=8), parser.add_argument('--rate', type=float, default=5e-5)
    parser.add_argument('--device', default='cpu'), parser.add_argument('--minutes', type=float, default=1e9)
    parser.add_argument('--use', default=','.join(NAMES)), parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--most-tokens', type=int, default=256)
    options = parser.parse_args()
    os.makedirs(options.run, exist_ok=True)
    torch.manual_seed(options.seed)
    thinker, rng, clock = Thinker().to(options.device), random.Random(options.seed), training.Clock(options.device)
    thinker.load_state_dict(training.read_state(options.state, options.device)['model'])
    reference, service = copy.deepcopy(thinker).eval(), Rewards(options.rewards, options.use.split(','))
    for name, parameter in thinker.named_parameters():
        parameter.requires_grad_(name.startswith(TRAINED))
    trained = [parameter for parameter in thinker.parameters() if parameter.requires_grad]
    optimizer, shards = torch.optim.AdamW(trained, lr=options.rate, betas=(0.9, 0.95), weight_decay=0.0), pool.paths_of(options.shards)
    for step in range(1, options.steps + 1):
        share = max(step / options.steps, clock.minutes / options.minutes)
        optimizer.param_groups[0]['lr'] = options.rate * min(1, step / WARM_UP, max(0.0, (1 - share) / (1 - FALL)) + 1e-3)
        row = train_step(thinker, reference, optimizer, trained, sample_batch(shards, options.clips, rng, options.device), prompts.sample_prompt(rng), service,
                         options.most_tokens)
        with open(f'{options.run}/log.jsonl', 'a') as file:
            file.write(json.dumps(dict(step=step, minutes=round(clock.minutes, 2), **row)) + '\n')
        if share >= 1:
            break
    torch.save(dict(model={key: value.bfloat16().cpu() for key, value in thinker.state_dict().items()}), f'{options.run}/weights.pt')


def train_step(thinker, reference, optimizer, trained, sampled, prompt, service, most=256):
    """One group of rollouts for every clip of the batch and one update; returns a row to log."""
    batch, references, sound = sampled
    grid, device = pool.grid_of(batch), batch['frames'].device.type
    with torch.autocast(device, torch.bfloat16):
        with torch.no_grad():
            clip = encode(thinker, batch, grid, sound)
            written, mask, earned, totals = roll_out(thinker, *clip, grid, prompt, references, service, most)
            log_p_reference = log_probabilities(reference, *encode(reference, batch, grid, sound), grid, prompt, written)
        log_p = log_probabilities(thinker, *encode(thinker, batch, grid, sound), grid, prompt, written)
    advantage = advantages(totals.view(-1, GROUP)).flatten().float().to(device)
    gain, divergence = objective(log_p, log_p_reference, advantage, mask)
    (-gain).backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return dict(kl=round(divergence.item(), 5), tokens=round(mask.sum(1).float().mean().item(), 1), total=round(totals.mean().item(), 4),
                **{name: round(sum(item[name] for item in earned) / len(earned), 4) for name in service.names})


if __name__ == '__main__':
    main()
