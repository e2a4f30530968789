// The numbers of a device against fp32 on the CPU, over both towers and everything that the engine asks of a decoder:
// whole prompts, chunks, ragged decode steps, copied prefixes.
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { toFloat32, type FloatArray } from '../../../src/base/floats.ts';
import { loadThinker } from '../../../src/model/execution/load-thinker.ts';
import type { Scores, Thinker } from '../../../src/model/execution/thinker.ts';
import type { ModelConfig } from '../../../src/model/checkpoint/config-types.ts';
import type { Device, Precision } from '../../../src/settings/engine-settings.ts';
import { isQuantised } from '../../../src/model/export/quantised-weights.ts';
import type { DecoderGraphOptions } from '../../../src/model/graphs/decoder.ts';
import { narrow } from '../../fixtures/narrow.ts';
import { exportRestored } from './restored-weights.ts';
import type { Deviation } from './report.ts';

/** A model and where it runs. */
export interface Place {
  readonly checkpoint: string;
  readonly cacheDir: string;
  readonly device: Device;
  readonly precision: Precision;
  /** as LoadOptions.kvCacheBytes */
  readonly kvCacheBytes?: number | undefined;
  readonly decoder?: DecoderGraphOptions | undefined;
  /** default `native` */
  readonly runtime?: 'native' | 'node' | undefined;
}

/** The same numbers in every process. */
class Noise {
  #state: number;
  constructor(seed: number) {
    this.#state = seed;
  }
  below(limit: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * limit);
  }
  normal(count: number, scale: number): Float32Array<ArrayBuffer> {
    const uniform = (): number => this.below(2 ** 24) / 2 ** 24;
    return Float32Array.from(
      { length: count },
      () => scale * 1.73 * (uniform() + uniform() + uniform() + uniform() - 2),
    );
  }
}

/** [3, count]: the same on all axes, as for text. */
export function textPositions(start: number, count: number): Int32Array {
  return Int32Array.from({ length: 3 * count }, (_, at) => start + (at % count));
}

/** [3, count]: another one on each axis, and none the place in the cache. */
function mediaPositions(start: number, count: number): Int32Array {
  return Int32Array.from({ length: 3 * count }, (_, at) => {
    const [axis, token] = [Math.floor(at / count), at % count];
    return start + 5 + Math.floor(token / 2) + axis * (token % 7);
  });
}

const SLOTS = 3;
const CAPACITY = 200;
/** [slot, start, tokens, media rows] */
const CHUNKS: readonly (readonly [number, number, number, number])[] = [
  [0, 0, 90, 20],
  [1, 0, 33, 0],
  [1, 33, 1, 0],
  [1, 34, 64, 30],
  [2, 0, 1, 0],
];
const DECODE_STEPS = 6;
const PREFIX = 50;

export const TEMPERATURE = 0.7;
/** Of sums over the vocabulary in float32; the sampler allows for 2e-4. */
const SUM_TOLERANCE = 1e-4;

function logSumExp(logits: Float32Array, temperature: number): number {
  const most = logits.reduce((largest, logit) => Math.max(largest, logit), -Infinity);
  return most / temperature + Math.log(logits.reduce((sum, logit) => sum + Math.exp((logit - most) / temperature), 0));
}

/** What a shortlist says wrongly of its row, or undefined. The order among equal logits is not defined. */
export function shortlistProblem(scores: Scores, logits: Float32Array): string | undefined {
  if (scores.kind === 'full') return undefined;
  const { ids, values } = scores;
  const best = Float32Array.from(logits).sort().reverse().subarray(0, ids.length);
  if (values.some((value, at) => value !== best[at])) return 'other values than the largest logits';
  if (ids.some((id, at) => logits[id] !== values[at])) return 'ids of other logits';
  if (new Set(ids).size !== ids.length) return 'an id twice';
  const sums = [scores.logSumExp - logSumExp(logits, 1), scores.scaledLogSumExp - logSumExp(logits, TEMPERATURE)];
  const wrong = sums.find((error) => !(Math.abs(error) < SUM_TOLERANCE));
  return wrong === undefined ? undefined : `a sum that is wrong by ${wrong}`;
}

interface DecoderNumbers {
  readonly rows: Float32Array[];
  readonly problems: string[];
}

async function logitsOf({ decoder, towers }: Thinker): Promise<DecoderNumbers> {
  const noise = new Noise(7);
  const found: DecoderNumbers = { rows: [], problems: [] };
  const note = async (row: number, scores: Scores): Promise<void> => {
    const logits = (await decoder.logits(row)).slice();
    const problem = shortlistProblem(scores, logits);
    if (problem !== undefined) found.problems.push(`row ${found.rows.length} has ${problem}`);
    found.rows.push(logits);
  };
  const prefill = async (slot: number, start: number, count: number, media: number): Promise<void> => {
    const scores = await decoder.prefill({
      slot,
      start,
      ids: Int32Array.from({ length: count }, () => noise.below(decoder.vocabSize)),
      positions: media === 0 ? textPositions(start, count) : mediaPositions(start, count),
      mediaRows: Int32Array.from({ length: media }, (_, row) => 2 * row + 1),
      mediaEmbeds: narrow(noise.normal(media * decoder.hiddenSize, 0.05), towers.dtype),
      wantLogits: true,
      temperature: TEMPERATURE,
    });
    if (scores !== undefined) await note(0, scores);
  };
  for (let slot = 0; slot <= SLOTS; slot++) await decoder.allocate(slot, CAPACITY);
  for (const chunk of CHUNKS) await prefill(...chunk);
  for (let step = 0; step < DECODE_STEPS; step++) {
    const batch = Array.from({ length: SLOTS }, (_, slot) => ({
      slot,
      token: 100 + 7 * step + slot,
      position: 150 + step,
      temperature: TEMPERATURE,
    }));
    for (const [row, scores] of (await decoder.decode(batch)).entries()) await note(row, scores);
  }
  await decoder.copyPrefix(0, SLOTS, PREFIX);
  await decoder.free(2);
  await decoder.allocate(2, CAPACITY);
  await decoder.copyPrefix(SLOTS, 2, PREFIX);
  await prefill(2, PREFIX, 17, 0);
  return found;
}

/** Steps, rows and columns of patches: one window, odd edges, more than one window each way. */
const PICTURES = [
  [1, 8, 8],
  [3, 10, 22],
  [2, 34, 20],
] as const;
/** Frames of sound: a whole number of chunks, and not. */
const SOUNDS = [200, 730] as const;

async function embeddingsOf({ towers }: Thinker, { vision, audio }: ModelConfig): Promise<Float32Array[]> {
  const noise = new Noise(9);
  const columns = vision.channels * vision.temporalPatchSize * vision.patchSize ** 2;
  const found: FloatArray[] = [];
  for (const [steps, gridH, gridW] of PICTURES)
    found.push(await towers.encodeVision(noise.normal(steps * gridH * gridW * columns, 1), steps, gridH, gridW));
  for (const frames of SOUNDS) found.push(await towers.encodeAudio(noise.normal(audio.melBins * frames, 1), frames));
  return found.map((embeds) => toFloat32(embeds, towers.dtype));
}

export interface Numbers {
  readonly decoder: DecoderNumbers;
  readonly towers: readonly Float32Array[];
}

export async function numbersOf({ checkpoint, runtime = 'native', ...where }: Place): Promise<Numbers> {
  const loaded = await loadThinker({
    modelDir: checkpoint,
    ...where,
    runtime,
    threads: 0,
    spinning: false,
    slots: SLOTS,
    prefixSlots: 1,
    capacity: CAPACITY,
  });
  try {
    return { decoder: await logitsOf(loaded.thinker), towers: await embeddingsOf(loaded.thinker, loaded.config) };
  } finally {
    await loaded.thinker.close();
  }
}

function largestAt(values: Float32Array): number {
  let best = 0;
  for (let at = 1; at < values.length; at++) if ((values[at] ?? NaN) > (values[best] ?? NaN)) best = at;
  return best;
}

/** `worstRelative`: of all rows the largest |found - expected| / |expected|, both as Euclidean norms. */
export function deviation(expected: readonly Float32Array[], found: readonly Float32Array[]): Deviation {
  let [worstRelative, worstAbsolute, sameLargest, notFinite] = [0, 0, 0, 0];
  expected.forEach((row, index) => {
    const other = found[index] ?? new Float32Array(0);
    let [difference, size] = [0, 0];
    row.forEach((value, at) => {
      const error = (other[at] ?? NaN) - value;
      if (!Number.isFinite(error)) notFinite += 1;
      difference += error * error;
      size += value * value;
      worstAbsolute = Math.max(worstAbsolute, Math.abs(error));
    });
    worstRelative = Math.max(worstRelative, Math.sqrt(difference / size));
    sameLargest += largestAt(row) === largestAt(other) ? 1 : 0;
  });
  return { rows: expected.length, worstRelative, worstAbsolute, sameLargest, notFinite };
}

/** fp32 on the CPU, with the weights that the device has: if they are quantised, with those numbers. */
async function exactNumbers(place: Place): Promise<Numbers> {
  const { checkpoint, precision, device, cacheDir } = place;
  const onCpu = {
    ...place,
    device: { type: 'cpu' },
    precision: 'fp32',
    kvCacheBytes: undefined,
    decoder: undefined,
    runtime: undefined,
  } as const;
  if (!isQuantised(precision)) return await numbersOf(onCpu);
  const scratch = mkdtempSync(join(cacheDir, 'restored-'));
  return await numbersOf({ ...onCpu, checkpoint: await exportRestored(checkpoint, precision, device.type, scratch) });
}

/** @throws AvocadoError as loadThinker: what does not run here is said, not left out */
export async function compareWithCpu(
  place: Place,
): Promise<{ decoder: Deviation & { shortlistProblems?: readonly string[] }; towers: Deviation }> {
  const expected = await exactNumbers(place);
  const found = await numbersOf(place);
  const { problems } = found.decoder;
  return {
    decoder: {
      ...deviation(expected.decoder.rows, found.decoder.rows),
      ...(problems.length === 0 ? {} : { shortlistProblems: problems }),
    },
    towers: deviation(expected.towers, found.towers),
  };
}
