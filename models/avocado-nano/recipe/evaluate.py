"""Scores a trained state on unseen shards: keypoint recall by category, false claims, dialogue, repetition, sound turned off.

usage: python evaluate.py STATE.pt 'SHARDS/*.safetensors ...' [--silent] [--show N] [--threads N] [--device cuda] [--said FILE]
--said writes captions and references for test/bench/score-captions.ts, which knows the hard level too; nothing is scored here then.
STATE may be a package's model.safetensors.
"""
import argparse
import json

import torch

import caption
import features
import pool
import prompts
import repetition
import scorer
import tokenizer as tk
import training
from generate import generate
from model import Thinker

MOST_TOKENS = 1200      # of a caption of a minute on the hard level


@torch.no_grad()
def caption_shard(thinker, shard, sound=True, prompt=prompts.AVOCADO[0], device='cpu', most=256):
    """(captions, their lengths in tokens) of a shard's clips, greedy."""
    with torch.autocast(device, torch.bfloat16):
        grid = pool.grid_of(shard)
        seen = thinker.look(features.patches_of(shard['frames']), grid)
        heard = thinker.audio_tower(shard['mel'].float()) if sound else None
        written = generate(thinker, seen, heard, grid, prompt, most)
    return [tk.load().decode(ids) for ids in written], [len(ids) for ids in written]


def summarise(scores, texts, lengths):
    """Percentages over all clips."""
    total = lambda pairs: round(100 * sum(hit for hit, _ in pairs) / max(1, sum(count for _, count in pairs)), 1)
    spoken = [s['dialogue'] for s in scores if s['dialogue'] is not None]
    return dict(clips=len(scores), recall=round(100 * sum(s['recall'] for s in scores) / len(scores), 1),
                **{name: total([s['categories'][name] for s in scores]) for name in caption.CATEGORIES},
                false_claims=total([s['claims'] for s in scores]), dialogue=round(100 * sum(spoken) / max(1, len(spoken)), 1),
                **{name: total([s['skills'][name] for s in scores]) for name in scores[0]['skills']},
                collapsed=round(100 * sum(map(repetition.collapsed, texts)) / len(texts), 1), tokens=round(sum(lengths) / len(lengths), 1),
                says_sound=round(100 * sum(map(scorer.says_sound, texts)) / len(texts), 1))


def evaluate(thinker, paths, sound=True, show=0, device='cpu'):
    """The summary of greedy captions of all shards at `paths`."""
    scores, texts, lengths = [], [], []
    for path in paths:
        shard, made_of = pool.read_shard(path, device)
        written, counts = caption_shard(thinker, shard, sound, device=device)
        scores += [scorer.score(text, script, sound) for text, script in zip(written, made_of)]
        texts, lengths = texts + written, lengths + counts
        for text, script in list(zip(written, made_of))[:show]:
            print(f'  model: {text}\n  truth: {caption.caption_of(script, sound)}\n')
    return summarise(scores, texts, lengths)


def say(thinker, paths, out, sound=True, most=MOST_TOKENS, device='cpu'):
    """Writes a line of JSON for each clip: its greedy caption, the reference, tokens, whether there was sound."""
    with open(out, 'w') as file:
        for path in paths:
            shard, made_of = pool.read_shard(path, device)
            for text, tokens, made in zip(*caption_shard(thinker, shard, sound, device=device, most=most), made_of):
                file.write(json.dumps(dict(caption=text, reference=pool.reference_of(made, sound), tokens=tokens, sound=sound)) + '\n')


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('state'), parser.add_argument('shards')
    parser.add_argument('--silent', action='store_true'), parser.add_argument('--show', type=int, default=0)
    parser.add_argument('--threads', type=int, default=torch.get_num_threads()), parser.add_argument('--device', default='cpu')
    parser.add_argument('--said'), parser.add_argument('--limit', type=int)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    thinker = Thinker().to(options.device)
    thinker.load_state_dict(training.read_state(options.state, options.device)['model'])
    if options.said:
        say(thinker.eval(), pool.paths_of(options.shards)[:options.limit], options.said, not options.silent, device=options.device)
        return
    print(json.dumps(evaluate(thinker.eval(), pool.paths_of(options.shards), not options.silent, options.show, options.device)))


if __name__ == '__main__':
    main()
