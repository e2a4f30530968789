// What the 7B shape costs on a device: the first token of a clip with its parts, and decode steps of several streams.
import { AvocadoError } from '../../../src/base/errors.ts';
import { encodeMedia, VisionRun } from '../../../src/encoder/encode-media.ts';
import { Sampler } from '../../../src/engine/sampler.ts';
import type { FrameStack, PreparedMedia } from '../../../src/features/types.ts';
import { loadThinker, type LoadedThinker } from '../../../src/model/execution/load-thinker.ts';
import type { Decoder, Scores } from '../../../src/model/execution/thinker.ts';
import { audioTokens } from '../../../src/model/execution/tower-inputs.ts';
import { median } from '../../bench/median.ts';
import { narrow } from '../../fixtures/narrow.ts';
import { textPositions, type Place } from './parity.ts';
import type { Finding } from './report.ts';

export interface SpeedSizes {
  /** a clip: pictures of gridH x gridW patches, and frames of sound */
  readonly clip: {
    readonly steps: number;
    readonly gridH: number;
    readonly gridW: number;
    readonly melFrames: number;
  };
  /** tokens of a prefill run */
  readonly chunks: readonly number[];
  readonly streams: readonly number[];
  /** tokens that each stream holds when decoding starts */
  readonly context: number;
  readonly decodeSteps: number;
  /** the same for a draw, which on random weights needs all logits of nearly every row */
  readonly drawnSteps: number;
}

/** 25,600 vision and 2,500 audio tokens: 100 s of video at two frames a second. */
export const FULL: SpeedSizes = {
  clip: { steps: 100, gridH: 32, gridW: 32, melFrames: 10_000 },
  chunks: [512, 2048],
  streams: [1, 8, 16, 32],
  context: 8192,
  decodeSteps: 32,
  drawnSteps: 6,
};

/** Every kind of finding, in seconds. */
export const REHEARSAL: SpeedSizes = {
  clip: { steps: 4, gridH: 8, gridW: 8, melFrames: 200 },
  chunks: [32],
  streams: [1, 2],
  context: 64,
  decodeSteps: 4,
  drawnSteps: 2,
};

interface SpeedPlace extends Place {
  /** default true */
  readonly recordSteps?: boolean | undefined;
}

const GREEDY = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  seed: 1,
};

/** What the engine is asked for by default, and a draw. */
const SAMPLINGS = {
  greedy: { ...GREEDY, repetitionPenalty: 1.05 },
  'top-p': { ...GREEDY, temperature: 0.7, topP: 0.9 },
};
type Sampling = keyof typeof SAMPLINGS;

const WARM_UP_STEPS = 6;

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

async function load(place: SpeedPlace, slots: number, capacity: number): Promise<LoadedThinker> {
  const { checkpoint: modelDir, ...where } = place;
  const threads = { threads: 0, spinning: false };
  return loadThinker({ modelDir, ...where, runtime: 'native', ...threads, slots, capacity });
}

/** The clip through both towers as the encoder runs them, its patches cut already. */
async function encodeClip(
  { thinker: { towers }, config: { vision, audio, text } }: LoadedThinker,
  steps: number,
  clip: SpeedSizes['clip'],
) {
  const columns = vision.channels * vision.temporalPatchSize * vision.patchSize ** 2;
  const { gridH, gridW, melFrames: frames } = clip;
  const patches = new Float32Array(steps * gridH * gridW * columns).fill(0.1);
  const mel = new Float32Array(audio.melBins * frames).fill(0.1);
  const [pictures, sounds] = [(steps * gridH * gridW) / vision.mergeSize ** 2, audioTokens(frames, audio.chunkFrames)];
  const rows = (from: number, count: number) => Int32Array.from({ length: count }, (_, at) => from + at);
  const order = { vision: rows(0, pictures), audio: rows(pictures, sounds) };
  const plan = { video: { gridThw: [steps, gridH, gridW] } };
  const media = { plan, audio: { mel, frames } } as unknown as PreparedMedia;
  const hiddenSize = text.hiddenSize;
  // The patches are there already: these steps only tell which are meant.
  const source = (from: number, to: number) => ({ from, to }) as unknown as FrameStack;
  const cut = (asked: FrameStack) => {
    const { from, to } = asked as unknown as { from: number; to: number };
    return Promise.resolve(patches.subarray(from * gridH * gridW * columns, to * gridH * gridW * columns));
  };
  const pictureRun = new VisionRun(source, [steps, gridH, gridW], towers, cut, { hiddenSize });
  const options = { hiddenSize, vision: pictureRun };
  const { visionSeconds, audioSeconds } = await encodeMedia(media, order, towers, cut, options);
  return { visionSeconds, audioSeconds };
}

function clipTokens({ clip }: SpeedSizes): number {
  return (clip.steps * clip.gridH * clip.gridW) / 4 + Math.floor((clip.melFrames + 1) / 4);
}

/** Every token is media, as nearly all of a video prompt are. */
async function prefill({ thinker: { decoder, towers } }: LoadedThinker, slot: number, tokens: number, chunk: number) {
  const embeds = narrow(new Float32Array(chunk * decoder.hiddenSize).fill(0.01), towers.dtype);
  for (let start = 0; start < tokens; start += chunk) {
    const count = Math.min(chunk, tokens - start);
    await decoder.prefill({
      slot,
      start,
      ids: Int32Array.from({ length: count }, (_, at) => (start + 31 * at) % Math.min(decoder.vocabSize, 100_000)),
      positions: textPositions(start, count),
      mediaRows: Int32Array.from({ length: count }, (_, row) => row),
      mediaEmbeds: embeds.subarray(0, count * decoder.hiddenSize),
      wantLogits: start + count === tokens,
    });
  }
}

async function* allocation(
  { thinker: { decoder } }: LoadedThinker,
  place: SpeedPlace,
  tokens: number,
): AsyncGenerator<Finding> {
  if (place.kvCacheBytes === undefined) return;
  const allocateMs = 1000 * (await seconds(() => decoder.allocate(0, tokens)));
  const freeMs = 1000 * (await seconds(() => decoder.free(0)));
  yield { kind: 'allocation', precision: place.precision, tokens, allocateMs, freeMs };
}

async function* firstToken(place: SpeedPlace, sizes: SpeedSizes): AsyncGenerator<Finding> {
  const tokens = clipTokens(sizes);
  const start = performance.now();
  const loaded = await load(place, 1, tokens + 64);
  try {
    yield { kind: 'load', precision: place.precision, seconds: (performance.now() - start) / 1000 };
    yield* allocation(loaded, place, tokens);
    const { clip: whole } = sizes;
    await encodeClip(loaded, whole.steps / 4, whole); // the first run of a shape also chooses kernels
    const towers = await encodeClip(loaded, whole.steps, whole);
    for (const chunk of sizes.chunks) {
      await loaded.thinker.decoder.allocate(0, tokens);
      await prefill(loaded, 0, Math.min(tokens, 2 * chunk), chunk); // as above: not the first run of its shape
      await loaded.thinker.decoder.free(0);
      await loaded.thinker.decoder.allocate(0, tokens);
      const prefillSeconds = await seconds(() => prefill(loaded, 0, tokens, chunk));
      await loaded.thinker.decoder.free(0);
      const clip = { tokens, chunk, ...towers, prefillSeconds };
      yield { kind: 'first-token', precision: place.precision, ...clip };
    }
  } finally {
    await loaded.thinker.close();
  }
}

/** Samples as the engine does. @returns how many rows needed all their logits */
async function sample(decoder: Decoder, samplers: readonly Sampler[], rows: readonly Scores[]): Promise<number> {
  let fullRows = 0;
  for (const [row, scores] of rows.entries()) {
    const sampler = samplers[row];
    if (scores.kind === 'shortlist' && sampler?.sampleShortlist(scores) !== undefined) continue;
    fullRows += 1;
    sampler?.sample(scores.kind === 'full' ? scores.logits : await decoder.logits(row));
  }
  return fullRows;
}

async function decodeStreams(
  { thinker: { decoder } }: LoadedThinker,
  streams: number,
  from: number,
  steps: number,
  sampling: Sampling,
) {
  const params = SAMPLINGS[sampling];
  const temperature = params.temperature || 1;
  const samplers = Array.from({ length: streams }, () => new Sampler(params, new Int32Array(0), 1));
  const runs: number[] = [];
  const samples: number[] = [];
  let fullRows = 0;
  let firstMs = 0;
  for (let step = 0; step < WARM_UP_STEPS + steps; step++) {
    const [token, position] = [1000 + step, from + step];
    const rows = Array.from({ length: streams }, (_, slot) => ({ slot, token, position, temperature }));
    const start = performance.now();
    const scores = await decoder.decode(rows);
    const ran = performance.now();
    if (step === 0) firstMs = ran - start;
    const full = await sample(decoder, samplers, scores);
    if (step < WARM_UP_STEPS) continue;
    runs.push(ran - start);
    samples.push(performance.now() - ran);
    fullRows += full;
  }
  runs.sort((left, right) => left - right);
  return {
    firstMs,
    runMs: median(runs),
    runMsBest: runs[0] ?? NaN,
    runMsSlow: runs[Math.floor(runs.length * 0.9)] ?? NaN,
    samplerMs: median(samples),
    sampling,
    rows: steps * streams,
    fullRows,
  };
}

async function* decoding(place: SpeedPlace, sizes: SpeedSizes): AsyncGenerator<Finding> {
  const most = Math.max(...sizes.streams);
  const steps = WARM_UP_STEPS + sizes.decodeSteps;
  const loaded = await load(place, most, sizes.context + steps + 1);
  try {
    const { decoder } = loaded.thinker;
    const room = sizes.context + steps + 1;
    for (let slot = 0; slot < most; slot++) await decoder.allocate(slot, room);
    await prefill(loaded, 0, sizes.context, Math.min(2048, sizes.context));
    const copySeconds = await seconds(async () => {
      for (let slot = 1; slot < most; slot++) await decoder.copyPrefix(0, slot, sizes.context);
    });
    if (most > 1) yield { kind: 'prefix-copies', tokens: sizes.context, copies: most - 1, seconds: copySeconds };
    const { context, decodeSteps, drawnSteps, streams: all } = sizes;
    const parts: { streams: number; steps: number; sampling: Sampling }[] = [
      ...all.map((streams) => ({ streams, steps: decodeSteps, sampling: 'greedy' as const })),
      { streams: 1, steps: drawnSteps, sampling: 'top-p' },
    ];
    for (const { streams, steps: count, sampling } of parts) {
      const times = await decodeStreams(loaded, streams, context, count, sampling);
      yield { kind: 'decode', precision: place.precision, streams, context, ...times };
      // The streams that ran are as full as can be: give them their prompts again.
      await decoder.free(0);
      await decoder.allocate(0, room);
      await prefill(loaded, 0, context, Math.min(2048, context));
      for (let slot = 1; slot < streams; slot++) await decoder.copyPrefix(0, slot, context);
    }
  } finally {
    await loaded.thinker.close();
  }
}

/** Measures in the order of what matters most. What fails is a finding too: the other part may work. */
export async function* measureSpeed(
  place: SpeedPlace,
  sizes: SpeedSizes,
  parts: 'all' | 'decode' = 'all',
): AsyncGenerator<Finding> {
  for (const part of parts === 'all' ? [firstToken, decoding] : [decoding]) {
    try {
      yield* part(place, sizes);
    } catch (error) {
      if (!(error instanceof AvocadoError)) throw error;
      if (error.code === 'precision_unsupported') throw error;
      yield { kind: 'refused', precision: place.precision, code: error.code, message: error.message };
    }
  }
}
