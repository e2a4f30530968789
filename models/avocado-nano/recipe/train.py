"""Stages 0 and 1: first both towers alone on dense targets, then the whole model on captions, with targets for its attention.

usage: python train.py RUN MINUTES 'SHARDS/*.safetensors ...' [--state STATE.pt] [--device cuda] [--clips N] [--consume] [--decoder-alone]
                       [--eval 'EVAL/*.safetensors'] [--hard] [--steps-at-once N]
The learning rate follows the clock and is 0 after MINUTES; --state RUN/state.pt continues a stopped run. --consume removes shards once
they are in memory, for producers that run in parallel (shards.py --waiting). --decoder-alone does not train the towers. --state may be a package's model.safetensors. --hard:
shards of hard-shards.ts, of which a batch has at most --steps-at-once steps.
"""
import argparse

import torch
import torch.nn.functional as F

import auxiliary
import evaluate
import hard
import labels
import layout
import pool
import prompts
import text
import training

RATE, HOLD = 2e-3, 0.4                  # until this share of the time the rate is held, then it falls to 0
TOWERS_ALONE = 0.08                     # share of the time for stage 0
SOUNDLESS = 0.15                        # share of batches without sound, whose captions mention none
LOOK_LAYERS, LOOK_HEADS = (1, 2), {'see': 0, 'hear': 2}      # whose attention gets targets
LOOK_WEIGHT, LOOK_UNTIL = 0.2, 0.85     # until this share of the time
EVERY, SAVED_EVERY, SCORED_EVERY = 50, 500, 1000             # steps
IGNORED = -100


def caption_losses(thinker, batch, seen, heard, prompt):
    """(next-token loss, look loss, numbers to log) of the reference captions."""
    grid, sound, device = pool.grid_of(batch), heard is not None, seen.device
    laid_out = layout.layout(grid, heard.shape[1] if sound else 0, prompt, str(device))
    name = 'on' if sound else 'off'
    told, rows = batch[f'{name}_ids'].long(), batch[f'{name}_ids'].shape[1]
    x = torch.cat([thinker.embed(laid_out, seen, heard), thinker.model.embed_tokens(told[:, :-1].clamp(min=0)).to(seen.dtype)], 1)
    positions = torch.cat([laid_out.positions, (laid_out.after + torch.arange(rows - 1, device=device)).expand(3, -1)], 1)
    watch = text.Watch(list(LOOK_HEADS.values()), rows)
    hidden = thinker.model(x, positions, None, watch, LOOK_LAYERS)[:, -rows:]
    logits, targets = thinker.lm_head(hidden).float(), torch.where(told < 0, IGNORED, told)
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
    see = batch[f'{name}_see']
    shown = see if see.dtype == torch.bool else auxiliary.cells_shown(see, grid[1] * grid[2])
    masks = auxiliary.look_masks(shown, batch[f'{name}_hear'], laid_out.video_at, laid_out.audio_at, x.shape[1])
    look = sum(auxiliary.look_loss(seen_by[:, number], masks[kind]) for seen_by in watch.seen for number, kind in enumerate(LOOK_HEADS))
    telling = masks['see'].any(-1) | masks['hear'].any(-1)
    right = ((logits.argmax(-1) == targets) & telling).sum() / telling.sum().clamp(min=1)
    return loss, look, dict(words=loss, look=look, told=right)


def losses(run, batch, captions, decoder_alone=False):
    """(loss, numbers to log) of one batch."""
    thinker, grid = run.model, pool.grid_of(batch)
    sound = not captions or run.rng.random() >= SOUNDLESS
    with torch.set_grad_enabled(not decoder_alone):
        seen = thinker.look(training.noisy_patches(batch['frames']), grid)
        heard = thinker.audio_tower(training.noisy_mel(batch['mel'])) if sound else None
    if decoder_alone:
        words, look, scores = caption_losses(thinker, batch, seen, heard, prompts.sample_prompt(run.rng))
        return words + LOOK_WEIGHT * look, scores
    steps = len(seen) * grid[0]
    scene = batch['scene'].long()      # of a clip, or of each step
    scene = scene.flatten(0, 1) if scene.dim() == 3 else scene.repeat_interleave(grid[0], 0)
    vision, numbers = run.probes.vision_loss(seen.view(steps, -1, seen.shape[-1]), grid, batch['cells'].long().flatten(0, 1), scene)
    loss, numbers = vision, dict(numbers, vision=vision)
    if sound:
        audio = run.probes.audio_loss(heard, batch['sounds'].long())
        loss, numbers['audio'] = loss + 0.3 * audio, audio
    if not captions:
        return loss, numbers
    words, look, scores = caption_losses(thinker, batch, seen, heard, prompts.sample_prompt(run.rng))
    return words + (LOOK_WEIGHT * look if run.share < LOOK_UNTIL else 0.0) + 0.3 * loss, numbers | scores


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('run'), parser.add_argument('minutes', type=float), parser.add_argument('shards')
    parser.add_argument('--state'), parser.add_argument('--device', default='cpu'), parser.add_argument('--threads', type=int)
    parser.add_argument('--clips', type=int, default=16), parser.add_argument('--rate', type=float, default=RATE)
    parser.add_argument('--consume', action='store_true'), parser.add_argument('--decoder-alone', action='store_true')
    parser.add_argument('--eval', default=''), parser.add_argument('--hard', action='store_true')
    parser.add_argument('--steps-at-once', type=int), parser.add_argument('--hold', type=float, default=HOLD)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--capacity', type=int, default=200), parser.add_argument('--towers-alone', type=float, default=TOWERS_ALONE)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    run = training.Run(options.run, options.minutes, options.rate, options.hold, options.device, options.state, hard.TABLES if options.hard else labels.EASY, options.seed)
    shards = pool.Pool(options.shards.split(), run.rng, options.device, options.capacity, options.consume)
    shards.batch(1, fewest=2)
    while run.share < 1:
        batch = shards.batch(options.clips, most_steps=options.steps_at_once)
        with torch.autocast(options.device, torch.bfloat16):
            loss, numbers = losses(run, batch, run.share >= options.towers_alone, options.decoder_alone)
        run.step(loss, len(batch['frames']))
        run.note(numbers)
        if run.steps % EVERY == 0:
            run.log(share=round(run.share, 3), read=shards.read, shards=len(shards.shards))
        if run.steps % SAVED_EVERY == 0:
            run.save()
        if options.eval and run.steps % SCORED_EVERY == 0:
            run.log(scores=evaluate.evaluate(run.model, pool.paths_of(options.eval)[:4], device=options.device))
    shards.close()
    run.save()
    run.save('weights.pt', whole=False)
    if options.eval:
        for sound in (True, False):
            run.log(sound=sound, scores=evaluate.evaluate(run.model, pool.paths_of(options.eval), sound, device=options.device))


if __name__ == '__main__':
    main()
