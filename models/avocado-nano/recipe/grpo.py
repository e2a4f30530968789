"""Stage 2: GRPO (paper Eq. 1-2). Groups of sampled captions, rewards R_C + R_D + R_L, towers frozen, KL to the supervised model.

usage: python grpo.py RUN STEPS 'SHARDS/*.pkl ...' TOKENIZER.json --state STATE.pt [--threads N]
Shards are those of encode_shards.py: the towers do not change, so they need not run.
"""
import argparse
import copy
import json
import os
import random
import time

import torch

import answers
import prompts
import rewards
import tokenizer as tk
from generate import generate
from model import Thinker
from pool import Pool

CLIPS, GROUP = 8, 8
RATE, BETA, TEMPERATURE, MOST_TOKENS = 5e-5, 0.04, 1.0, 256
WARM_UP = 10      # steps


def advantages(totals):
    """Eq. 1 over the last axis, with the unbiased deviation; a group of equals teaches nothing."""
    return (totals - totals.mean(-1, keepdim=True)) / (totals.std(-1, keepdim=True) + 1e-4)


def log_probabilities(thinker, tokenizer_path, batch, prompt, written):
    """log p [clips * GROUP, n] of every written token; each clip's prompt is run once."""
    audio = batch['heard'].shape[1]
    ids, positions, after = answers.prompt_of(tokenizer_path, batch['grid'], audio, prompt)
    caches, shared = thinker.begin(ids, positions, CLIPS)
    first = thinker.model(thinker.embed(ids[shared:], batch['seen'], batch['heard']), positions[:, shared:], caches, rows=1)
    for cache in caches:
        cache.spread(GROUP)
    rows = written.shape[1]
    at = (after + torch.arange(rows - 1)).expand(3, -1)
    rest = thinker.model(thinker.model.embed_tokens(written[:, :-1]).to(first.dtype), at, caches)
    logits = thinker.lm_head(torch.cat([first.repeat_interleave(GROUP, 0), rest], 1)).float()
    return logits.log_softmax(-1).gather(-1, written[..., None])[..., 0]


def roll_out(thinker, tokenizer_path, batch, prompt):
    """Sampled captions: padded ids [n, longest], mask of the real ones, rewards [n, 3]."""
    tokenizer = tk.load(tokenizer_path)
    with torch.autocast('cpu', torch.bfloat16):
        ids = generate(thinker, tokenizer_path, batch['seen'], batch['heard'], batch['grid'], prompt, MOST_TOKENS, TEMPERATURE, GROUP)
    earned = torch.tensor([rewards.reward(tokenizer.decode(row), len(row), batch['script'][k // GROUP]) for k, row in enumerate(ids)],
                          dtype=torch.float64)      # equal rewards must have equal means
    ended = [row + [tk.END] if len(row) < MOST_TOKENS else row for row in ids]
    written = torch.full((len(ended), max(map(len, ended))), tk.PAD)
    for k, row in enumerate(ended):
        written[k, :len(row)] = torch.tensor(row)
    lengths = torch.tensor([len(row) for row in ended])
    return written, torch.arange(written.shape[1]) < lengths[:, None], earned


def objective(log_p, log_p_reference, advantage, mask):
    """Eq. 2 at the sampling policy, where no ratio is clipped, and the mean K3 estimate of the KL term."""
    ratio = (log_p - log_p.detach()).exp()
    gap = log_p_reference - log_p
    divergence = gap.exp() - gap - 1
    per_token = (ratio * advantage[:, None] - BETA * divergence) * mask
    return (per_token.sum(1) / mask.sum(1)).mean(), ((divergence * mask).sum() / mask.sum()).item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('run'), parser.add_argument('steps', type=int), parser.add_argument('shards'), parser.add_argument('tokenizer')
    parser.add_argument('--state', required=True), parser.add_argument('--threads', type=int, default=1)
    options = parser.parse_args()
    os.makedirs(options.run, exist_ok=True)
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    thinker, rng, started = Thinker(), random.Random(1), time.time()
    thinker.load_state_dict(torch.load(options.state, weights_only=False)['model'])
    reference = copy.deepcopy(thinker).eval()
    trained = [p for name, p in thinker.named_parameters() if name.startswith(('model.', 'lm_head'))]
    optimizer, pool = torch.optim.AdamW(trained, lr=RATE, betas=(0.9, 0.95), weight_decay=0.0), Pool(options.shards.split(), rng)
    for step in range(1, options.steps + 1):
        optimizer.param_groups[0]['lr'] = RATE * min(1, step / WARM_UP)
        batch, prompt = pool.batch(CLIPS), prompts.sample_prompt(rng)
        written, mask, earned = roll_out(thinker, options.tokenizer, batch, prompt)
        advantage = advantages(earned.sum(1).view(CLIPS, GROUP)).flatten().float()
        with torch.autocast('cpu', torch.bfloat16):
            with torch.no_grad():
                log_p_reference = log_probabilities(reference, options.tokenizer, batch, prompt, written)
            log_p = log_probabilities(thinker, options.tokenizer, batch, prompt, written)
        gain, divergence = objective(log_p, log_p_reference, advantage, mask)
        (-gain).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        row = dict(step=step, minutes=round((time.time() - started) / 60, 2), kl=round(divergence, 5), tokens=mask.sum(1).float().mean().item(),
                   **{name: round(value, 4) for name, value in zip(('R_C', 'R_D', 'R_L'), earned.mean(0).tolist())})
        with open(f'{options.run}/log.jsonl', 'a') as file:
            file.write(json.dumps(row) + '\n')
        if step % 25 == 0 or step == options.steps:
            torch.save(dict(model=thinker.state_dict()), f'{options.run}/state.pt')


if __name__ == '__main__':
    main()
