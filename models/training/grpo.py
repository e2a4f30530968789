"""GRPO with transformers and the reward service: G = 8, batch 64, rate 1e-5, temperature 1, beta 0.04 (paper, Eq. 1-2 and App. C).

TRL's GRPOTrainer gives its model pictures only, no video and no sound, so the step is written out here. It samples a group one caption at a
time, which shows that the parts fit together; for the 7B model use ms-swift, whose rollouts run on vLLM (ms-swift/grpo.sh).

usage: python grpo.py CHECKPOINT ROWS.jsonl OUT --rewards URL [--steps N] [--prompts 8] [--rate 1e-5] [--most-tokens 4096] [--device cuda]
Rows are those of `avocado curate --export ms-swift`: `solution` is the reference caption, `keypoints` and `dialogues` its checklists.
"""
import argparse
import copy
import json
import random

import torch

import omni
from rewards import Rewards

GROUP, BETA, TEMPERATURE = 8, 0.04, 1.0


def advantages(totals):
    """Eq. 1 with the unbiased deviation; a reward that could not be given has advantage 0 and does not count."""
    known = torch.tensor([total is not None for total in totals])
    values = torch.tensor([total or 0.0 for total in totals], dtype=torch.float64)
    if known.sum() < 2:
        return torch.zeros(len(totals), dtype=torch.float64)
    return torch.where(known, (values - values[known].mean()) / (values[known].std() + 1e-4), 0.0)


def log_probabilities(model, inputs, written):
    """log p [n] of the written tokens after the prompt."""
    ids = torch.cat([inputs['input_ids'], written[None]], 1)
    mask = torch.ones_like(ids)
    logits = model(**{**inputs, 'input_ids': ids, 'attention_mask': mask, 'use_cache': False}).logits[0, -len(written) - 1:-1].float()
    return logits.log_softmax(-1).gather(-1, written[:, None])[:, 0]


def sample(model, inputs, most_tokens, media_ids):
    """One caption's tokens, its end token included. Placeholders of media are not sampled: the model would look for their embeddings."""
    with torch.no_grad():
        ids = model.generate(**inputs, do_sample=True, temperature=TEMPERATURE, top_k=0, top_p=1.0, max_new_tokens=most_tokens,
                             suppress_tokens=media_ids)
    return ids[0, inputs['input_ids'].shape[1]:]


def objective(log_p, log_p_reference, advantage):
    """Eq. 2 at the sampling policy, where no ratio is clipped, and the K3 estimate of the KL divergence; means over tokens."""
    gap = log_p_reference - log_p
    divergence = gap.exp() - gap - 1
    return ((log_p - log_p.detach()).exp() * advantage - BETA * divergence).mean(), divergence.mean().detach()


def step(model, reference, processor, rows, service, options, dtype):
    """One update by one group of each row; returns what is logged."""
    special, told = torch.tensor(processor.tokenizer.all_special_ids, device=options.device), []
    for row in rows:
        inputs = omni.on(omni.inputs_of(row, processor, told=False), options.device, dtype)
        group = [sample(model, inputs, options.most_tokens, processor.media_ids) for _ in range(GROUP)]
        texts = [processor.tokenizer.decode(written, skip_special_tokens=True) for written in group]
        lengths = [int((~torch.isin(written, special)).sum()) for written in group]
        references = [dict(caption=row['solution'], keypoints=row.get('keypoints'), dialogues=row.get('dialogues'))] * GROUP
        earned = service.of(texts, lengths, references)
        for written, advantage in zip(group, advantages([item['total'] for item in earned])):
            with torch.no_grad():
                before = log_probabilities(reference, inputs, written)
            value, divergence = objective(log_probabilities(model, inputs, written), before, float(advantage))
            (-value / (GROUP * len(rows))).backward()
            told.append(dict(divergence=float(divergence)))
        told[-1].update(totals=[item['total'] for item in earned], lengths=lengths)
    return dict(totals=[one['totals'] for one in told if 'totals' in one], lengths=[one['lengths'] for one in told if 'lengths' in one],
                divergence=sum(one['divergence'] for one in told) / len(told))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('checkpoint'), parser.add_argument('rows'), parser.add_argument('out')
    parser.add_argument('--rewards', required=True), parser.add_argument('--steps', type=int, default=250)
    parser.add_argument('--prompts', type=int, default=8), parser.add_argument('--rate', type=float, default=1e-5)
    parser.add_argument('--most-tokens', type=int, default=4096), parser.add_argument('--device', default='cuda')
    options = parser.parse_args()
    dtype = torch.float32 if options.device == 'cpu' else torch.bfloat16
    torch.manual_seed(0)
    model, processor = omni.load(options.checkpoint, options.device, dtype)
    reference, rng = copy.deepcopy(model).eval().requires_grad_(False), random.Random(0)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer, rows = torch.optim.AdamW(trained, lr=options.rate, betas=(0.9, 0.95), weight_decay=0.0), omni.rows_of(options.rows)
    service = Rewards(options.rewards, ('R_C', 'R_D', 'R_L'))
    for index in range(options.steps):
        chosen = rng.sample(rows, min(options.prompts, len(rows)))
        row = step(model, reference, processor, chosen, service, options, dtype)
        norm = torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step(), optimizer.zero_grad()
        print(json.dumps(dict(step=index + 1, gradient=float(norm), **row)), flush=True)
    omni.save(model, options.checkpoint, options.out)


if __name__ == '__main__':
    main()
