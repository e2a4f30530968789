"""Scores a trained state on shards it has never seen: keypoint recall by category, false claims, dialogue, repetition, sound turned off.

usage: python evaluate.py STATE.pt 'SHARDS/*.pkl ...' TOKENIZER.json [--silent] [--show N] [--threads N]
"""
import argparse
import glob
import json

import torch

import caption
import features
import pool
import prompts
import repetition
import scorer
import tokenizer as tk
from generate import generate
from model import Thinker

BATCH = 32


def caption_shard(thinker, tokenizer_path, shard, sound=True, prompt=prompts.AVOCADO[0]):
    """(captions, their lengths in tokens) of a shard's clips, greedy."""
    tokenizer = tk.load(tokenizer_path)
    batch = pool.take(shard, list(range(len(shard['script']))))
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        seen = thinker.look(torch.stack([features.patches_of(clip) for clip in batch['frames']]), batch['grid'])
        heard = thinker.audio_tower(batch['mel']) if sound else None
        written = generate(thinker, tokenizer_path, seen, heard, batch['grid'], prompt)
    return [tokenizer.decode(ids) for ids in written], [len(ids) for ids in written]


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


def evaluate(thinker, tokenizer_path, paths, sound=True, show=0):
    """summarise of greedy captions of all shards at `paths`."""
    scores, texts, lengths = [], [], []
    for path in paths:
        shard = pool.read_shard(path)
        written, counts = caption_shard(thinker.eval(), tokenizer_path, shard, sound)
        scores += [scorer.score(text, script, sound) for text, script in zip(written, shard['script'])]
        texts, lengths = texts + written, lengths + counts
        for text, script in list(zip(written, shard['script']))[:show]:
            print(f'  model: {text}\n  truth: {caption.caption_of(script, sound)}\n')
    return summarise(scores, texts, lengths)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('state'), parser.add_argument('shards'), parser.add_argument('tokenizer')
    parser.add_argument('--silent', action='store_true'), parser.add_argument('--show', type=int, default=0)
    parser.add_argument('--threads', type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    thinker = Thinker()
    thinker.load_state_dict(torch.load(options.state, weights_only=False)['model'])
    paths = sorted(path for pattern in options.shards.split() for path in glob.glob(pattern))
    print(json.dumps(evaluate(thinker, options.tokenizer, paths, not options.silent, options.show)))


if __name__ == '__main__':
    main()
