"""Stage 0: both towers alone, on dense targets. Single steps of many clips teach the eye more per second than whole clips.

usage: python train_towers.py RUN CLIPS 'SHARDS/*.pkl' [--state STATE.pt] [--decay CLIPS]
Stops after CLIPS more clips; with --decay the learning rate falls to 0 over the last so many.
"""
import argparse

import torch

import training
from pool import Pool

BATCH, STEPS_SEEN, SOUNDS_HEARD = 32, 3, 8      # clips; of each so many steps; of so many the sound
RATE = 2e-3


def losses(trainer, batch):
    """(loss, numbers to log) of a few random steps of each clip, and of some of the sounds."""
    chosen = torch.randint(batch['grid'][0], (BATCH, STEPS_SEEN))
    pairs = torch.stack([chosen * 2, chosen * 2 + 1], -1).flatten(1)
    rows = torch.arange(BATCH)[:, None]
    seen = trainer.model.look(training.noisy_patches(batch['frames'][rows, pairs]), (STEPS_SEEN, *batch['grid'][1:]))
    vision, scores = trainer.probes.vision_loss(seen.view(BATCH * STEPS_SEEN, -1, seen.shape[-1]), batch['grid'],
                                                batch['cells'][rows, chosen].flatten(0, 1), batch['scene'].repeat_interleave(STEPS_SEEN, 0))
    audio = trainer.probes.audio_loss(trainer.model.audio_tower(training.noisy_mel(batch['mel'][:SOUNDS_HEARD])), batch['sounds'][:SOUNDS_HEARD])
    return vision + 0.5 * audio, dict(scores, vision=vision.item(), audio=audio.item())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('run'), parser.add_argument('clips', type=int), parser.add_argument('shards')
    parser.add_argument('--state'), parser.add_argument('--decay', type=int, default=0), parser.add_argument('--threads', type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    trainer = training.Trainer(options.run, RATE, RATE, options.state)
    pool, averages, end = Pool(options.shards.split(), trainer.rng), training.Averages(), trainer.seen + options.clips
    while trainer.seen < end:
        with torch.autocast('cpu', torch.bfloat16):
            loss, numbers = losses(trainer, pool.batch(BATCH))
        trainer.step(loss, BATCH, min(1.0, (end - trainer.seen) / options.decay) if options.decay else 1.0)
        averages.add(numbers)
        if trainer.seen // BATCH % 20 == 0:
            trainer.log(stage='towers', **averages.rounded())
        if trainer.seen // BATCH % 100 == 0:
            trainer.save()
    trainer.save()


if __name__ == '__main__':
    main()
