// The graphs for a card are built otherwise than those for a CPU: padded and joined weights. onnxruntime computes
// float16 on a CPU too, by casts, and so shows here that they give the same numbers.
import { expect, it } from 'vitest';
import { toFloat32, type FloatArray } from '../../../src/base/floats.ts';
import { openCheckpoint } from '../../../src/model/checkpoint/checkpoint.ts';
import { readModelConfig } from '../../../src/model/checkpoint/config.ts';
import { SlotDecoder } from '../../../src/model/execution/decoder.ts';
import { ThinkerTowers } from '../../../src/model/execution/towers.ts';
import { buildAudioGraph } from '../../../src/model/graphs/audio.ts';
import { buildDecoderGraph } from '../../../src/model/graphs/decoder.ts';
import { ACTIVATION_DTYPE } from '../../../src/model/graphs/graph-builder.ts';
import { buildVisionGraph } from '../../../src/model/graphs/vision.ts';
import { openRuntime } from '../../../src/model/runtime/open-runtime.ts';
import type { Runtime } from '../../../src/model/runtime/runtime.ts';
import { golden } from '../../fixtures/golden.ts';
import { narrow } from '../../fixtures/narrow.ts';
import { deviation, textPositions } from '../../gpu/check/parity.ts';

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

type Numbers = (runtime: Runtime, checkpoint: string, precision: 'fp32' | 'fp16') => Promise<Float32Array[]>;

const embeddings: Numbers = async (runtime, checkpoint, precision) => {
  const [config, weights] = await Promise.all([readModelConfig(checkpoint), openCheckpoint(checkpoint)]);
  const visionSession = await runtime.createSession(buildVisionGraph(config, weights, precision).bytes, OPTIONS);
  const audioSession = await runtime.createSession(buildAudioGraph(config, weights, precision).bytes, OPTIONS);
  const dtype = ACTIVATION_DTYPE[precision];
  const towers = new ThinkerTowers(config, visionSession, audioSession, { dtype, onCard: precision === 'fp16' });
  const { vision, audio } = config;
  const columns = vision.channels * vision.temporalPatchSize * vision.patchSize ** 2;
  const found: FloatArray[] = [];
  for (const [steps, gridH, gridW] of PICTURES)
    found.push(await towers.encodeVision(wave(steps * gridH * gridW * columns), steps, gridH, gridW));
  for (const frames of SOUNDS) found.push(await towers.encodeAudio(wave(audio.melBins * frames), frames));
  return found.map((embeds) => toFloat32(embeds, dtype));
};

/** Of two prompts of 20 tokens, and of three steps of both. */
const logits: Numbers = async (runtime, checkpoint, precision) => {
  const [config, weights] = await Promise.all([readModelConfig(checkpoint), openCheckpoint(checkpoint)]);
  const session = await runtime.createSession(buildDecoderGraph(config, weights, precision).bytes, OPTIONS);
  const dtype = ACTIVATION_DTYPE[precision];
  const cache = { dtype, slots: 2, prefixSlots: 0, capacity: 64 };
  const decoder = await SlotDecoder.create(config, { runtime, session, device: DEVICE, ...cache });
  const found: Float32Array[] = [];
  for (const slot of [0, 1]) {
    const ids = Int32Array.from({ length: 20 }, (_, at) => (31 * at + slot) % config.text.vocabSize);
    const [mediaRows, mediaEmbeds] = [Int32Array.of(3), narrow(wave(config.text.hiddenSize), dtype)];
    const prompt = { slot, start: 0, ids, positions: textPositions(0, 20), mediaRows, mediaEmbeds, wantLogits: true };
    await decoder.prefill(prompt);
    found.push((await decoder.logits(0)).slice());
  }
  for (let step = 0; step < 3; step += 1) {
    const rows = [0, 1].map((slot) => ({ slot, token: 7 * step + slot, position: 20 + step }));
    await decoder.decode(rows);
    for (const row of [0, 1]) found.push((await decoder.logits(row)).slice());
  }
  decoder.release();
  return found;
};

// Measured on these random weights: at most 3e-3. A wrong row or column gives 0.1 and more.
it.each([
  ['towers', 'tiny-a', embeddings],
  ['towers', 'tiny-b', embeddings],
  ['decoder', 'tiny-a', logits],
  ['decoder', 'tiny-b', logits],
] as const)('float16 is fp32 but for rounding in the %s of %s', async (_part, name, numbers) => {
  const runtime = await openRuntime({ runtime: undefined, device: DEVICE });
  const checkpoint = golden(`checkpoints/${name}`);
  try {
    const exact = await numbers(runtime, checkpoint, 'fp32');
    const found = deviation(exact, await numbers(runtime, checkpoint, 'fp16'));
    expect(found.notFinite).toBe(0);
    expect(found.worstRelative).toBeLessThan(6e-3);
    expect(found.worstRelative).toBeGreaterThan(1e-5);
  } finally {
    await runtime.close();
  }
});
