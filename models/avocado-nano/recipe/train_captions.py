"""Stage 1: captions. The whole thinker on next-token loss, with the towers' dense targets and a hint where to look.

usage: python train_captions.py RUN CLIPS 'SHARDS/*.pkl ...' TOKENIZER.json --state STATE.pt [--fresh] [--decay CLIPS]
                                [--soundless SHARE] [--rate R] [--tower-rate R] [--threads N]
--fresh starts the optimizers anew, as after stage 0. Pictures alone cost half: a larger SHARE is cheaper while verbs are being learnt.
"""
import argparse

import torch
import torch.nn.functional as F

import answers
import auxiliary
import prompts
import tokenizer as tk
import training
from pool import Pool

BATCH = 16
RATE, TOWER_RATE = 2e-3, 4e-4
SOUNDLESS = 0.15                        # of the batches: sound off, the caption tells of none
LOOK_LAYERS = (2, 3)                    # whose attention is shown where to look
LOOK_HEADS = {'see': 0, 'hear': 2}
LOOK_WEIGHT = 0.2


def caption_loss(trainer, batch, seen, heard, tokenizer_path):
    """(next-token loss, look loss, accuracy of the tokens that tell about something)."""
    thinker, audio = trainer.model, 0 if heard is None else heard.shape[1]
    ids, positions, after = answers.prompt_of(tokenizer_path, batch['grid'], audio, prompts.sample_prompt(trainer.rng))
    video_at, audio_at = ((ids == token).nonzero()[:, 0].tolist() for token in (tk.VIDEO, tk.AUDIO))
    inputs, targets, looks = answers.answers_of(tk.load(tokenizer_path), batch, heard is not None, video_at, audio_at, len(ids))
    rows = inputs.shape[1]
    caches, shared = thinker.begin(ids, positions, len(seen))
    x = torch.cat([thinker.embed(ids[shared:], seen, heard), thinker.model.embed_tokens(inputs[:, :-1]).to(seen.dtype)], 1)
    positions = torch.cat([positions[:, shared:], (after + torch.arange(rows - 1)).expand(3, -1)], 1)
    watch = {layer: [] for layer in LOOK_LAYERS}
    logits = thinker.lm_head(thinker.model(x, positions, caches, watch, rows)).float()
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=answers.IGNORED)
    look = sum(auxiliary.look_loss(watch[layer][0][:, head, -rows:, :len(ids)], looks[kind])
               for layer in LOOK_LAYERS for kind, head in LOOK_HEADS.items())
    telling = looks['see'].any(-1) | looks['hear'].any(-1)
    return loss, look, auxiliary.accuracy(logits[telling], targets[telling])


def losses(trainer, batch, tokenizer_path, soundless=SOUNDLESS):
    """(loss, numbers to log) of one batch; of a batch whose towers have been run before, the decoder's part only."""
    sound = trainer.rng.random() >= soundless
    if 'seen' in batch:
        words, look, told = caption_loss(trainer, batch, batch['seen'], batch['heard'] if sound else None, tokenizer_path)
        return words + LOOK_WEIGHT * look, dict(words=words.item(), look=look.item(), told=told)
    seen = trainer.model.look(training.noisy_patches(batch['frames']), batch['grid'])
    heard = trainer.model.audio_tower(training.noisy_mel(batch['mel'])) if sound else None
    steps = len(seen) * batch['grid'][0]
    vision, scores = trainer.probes.vision_loss(seen.view(steps, -1, seen.shape[-1]), batch['grid'], batch['cells'].flatten(0, 1),
                                                batch['scene'].repeat_interleave(batch['grid'][0], 0))
    audio = trainer.probes.audio_loss(heard, batch['sounds']) if sound else torch.zeros(())
    words, look, told = caption_loss(trainer, batch, seen, heard, tokenizer_path)
    numbers = dict(scores, words=words.item(), look=look.item(), told=told, vision=vision.item())
    return words + LOOK_WEIGHT * look + 0.3 * vision + 0.1 * audio, numbers | (dict(audio=audio.item()) if sound else {})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('run'), parser.add_argument('clips', type=int), parser.add_argument('shards'), parser.add_argument('tokenizer')
    parser.add_argument('--state', required=True), parser.add_argument('--fresh', action='store_true')
    parser.add_argument('--decay', type=int, default=0), parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--soundless', type=float, default=SOUNDLESS), parser.add_argument('--rate', type=float, default=RATE)
    parser.add_argument('--tower-rate', type=float, default=TOWER_RATE)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    trainer = training.Trainer(options.run, options.rate, options.tower_rate, options.state, options.fresh)
    pool, averages, end = Pool(options.shards.split(), trainer.rng), training.Averages(), trainer.seen + options.clips
    while trainer.seen < end:
        with torch.autocast('cpu', torch.bfloat16):
            loss, numbers = losses(trainer, pool.batch(BATCH), options.tokenizer, options.soundless)
        trainer.step(loss, BATCH, min(1.0, (end - trainer.seen) / options.decay) if options.decay else 1.0)
        averages.add(numbers)
        if trainer.seen // BATCH % 20 == 0:
            trainer.log(stage='captions', **averages.rounded())
        if trainer.seen // BATCH % 100 == 0:
            trainer.save()
    trainer.save()


if __name__ == '__main__':
    main()
