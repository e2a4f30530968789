// The graphs of the towers for a card are built otherwise than those for a CPU: padded and joined weights. onnxruntime
// computes float16 on a CPU too, by casts, and so shows here that they give the same numbers.
import { expect, it } from 'vitest';
import { openCheckpoint } from '../../../src/model/checkpoint/checkpoint.ts';
import { readModelConfig } from '../../../src/model/checkpoint/config.ts';
import { ThinkerTowers } from '../../../src/model/execution/towers.ts';
import { buildAudioGraph } from '../../../src/model/graphs/audio.ts';
import { buildVisionGraph } from '../../../src/model/graphs/vision.ts';
import { openRuntime } from '../../../src/model/runtime/open-runtime.ts';
import type { Runtime } from '../../../src/model/runtime/runtime.ts';
import { golden } from '../../fixtures/golden.ts';
import { deviation } from '../../gpu/check/parity.ts';

const DEVICE = { type: 'cpu' } as const;
const OPTIONS = { device: DEVICE, threads: 1, spinning: false, disablePrepacking: false } as const;
/** Steps and rows and columns of patches: windows cut at the edges, and whole ones only. */
const PICTURES = [
  [2, 10, 22],
  [3, 16, 16],
] as const;
/** Frames of sound: more than one run, less than a chunk. */
const SOUNDS = [3500, 37] as const;

/** Repeats only after long. */
function wave(count: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: count }, (_, at) => Math.sin(at) + Math.sin(0.7071 * at));
}

async function embeddings(runtime: Runtime, checkpoint: string, precision: 'fp32' | 'fp16'): Promise<Float32Array[]> {
  const [config, weights] = await Promise.all([readModelConfig(checkpoint), openCheckpoint(checkpoint)]);
  const visionSession = await runtime.createSession(buildVisionGraph(config, weights, precision).bytes, OPTIONS);
  const audioSession = await runtime.createSession(buildAudioGraph(config, weights, precision).bytes, OPTIONS);
  const towers = new ThinkerTowers(config, visionSession, audioSession);
  const { vision, audio } = config;
  const columns = vision.channels * vision.temporalPatchSize * vision.patchSize ** 2;
  const found: Float32Array[] = [];
  for (const [steps, gridH, gridW] of PICTURES)
    found.push(await towers.encodeVision(wave(steps * gridH * gridW * columns), steps, gridH, gridW));
  for (const frames of SOUNDS) found.push(await towers.encodeAudio(wave(audio.melBins * frames), frames));
  return found;
}

// Measured on these random weights: 2.5e-3 for tiny-a, 1.4e-3 for tiny-b. A wrong row or column gives 0.1 and more.
it.each(['tiny-a', 'tiny-b'])('The float16 towers of %s are those of fp32, but for rounding', async (name) => {
  const runtime = await openRuntime({ runtime: undefined, device: DEVICE });
  const checkpoint = golden(`checkpoints/${name}`);
  try {
    const exact = await embeddings(runtime, checkpoint, 'fp32');
    const found = deviation(exact, await embeddings(runtime, checkpoint, 'fp16'));
    expect(found.notFinite).toBe(0);
    expect(found.worstRelative).toBeLessThan(6e-3);
    expect(found.worstRelative).toBeGreaterThan(1e-5);
  } finally {
    await runtime.close();
  }
});
