import { goldenCases } from '../fixtures/golden-cases.ts';
import { stressSize } from '../fixtures/stress-size.ts';
import { describeCases } from './case-checks.ts';

/**
 * Half of the cases: every mode, both stages of resizing, second prompts, stop tokens, uneven rates. The
 * rest differs in media only.
 */
const INPUTS: ReadonlySet<string> = new Set([
  'av-4s.mid',
  'av-4s.fps3',
  'av-4s.upscaled-twice',
  'av-4s.video-only',
  'portrait-rot90.mid',
  'one-second.small',
  'audio-short.half-fps',
  'audio-short.small',
  'two-frames.small',
  'speech-16k',
  'still',
]);

/** What a session of onnxruntime-node does with one graph it does with the other. */
const CHECKPOINTS = stressSize('checkpoints on the portable runtime', { short: 1, long: 2 });

for (const checkpoint of (['tiny-a', 'tiny-b'] as const).slice(0, CHECKPOINTS)) {
  describeCases({
    checkpoint,
    runtime: 'node',
    cases: goldenCases(checkpoint).filter(({ input }) => INPUTS.has(input)),
    context: 1024,
  });
}
