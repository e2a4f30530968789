// Fewer video tokens between the towers and the language model: Differential Token Drop (TimeChat-Online), without
// training. A cell of a frame that looks as in the step before is left out; the others keep their positions in time,
// height and width, and the sound is whole. Pure, but for pauses in which others get the thread.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { newFloats, toFloat32, type FloatArray, type FloatDType } from '../base/floats.ts';
import { mediaOrder, mediaRows } from '../encoder/encode-media.ts';
import type { ModelConfig } from '../model/checkpoint/config-types.ts';
import type { MediaTokens, Prompt } from '../prompt/types.ts';

export interface CompressInput {
  readonly prompt: Prompt;
  /** [media tokens, hidden] in `dtype`, in the order of the prompt rows they replace */
  readonly embeds: FloatArray;
  readonly dtype: FloatDType;
  readonly media: MediaTokens;
}

export interface Compressed extends Pick<CompressInput, 'prompt' | 'embeds'> {
  /** video tokens that are left, of how many; undefined: this is no video */
  readonly video: { readonly kept: number; readonly of: number } | undefined;
}

/**
 * Leaves out the video tokens that are most like the same cell one step before (cosine of the tower's outputs, of the
 * whole step before, not of what is left of it). The first step is kept whole.
 * @param ratio share of the video tokens to keep, over the whole video; at least the first step is kept
 */
export async function compressVideo(
  { prompt, embeds, dtype, media }: CompressInput,
  ratio: number,
  config: Pick<ModelConfig, 'tokens'> &
    Parameters<typeof mediaOrder>[1] & { readonly text: { readonly hiddenSize: number } },
): Promise<Compressed> {
  if (media.kind !== 'video') return { prompt, embeds, video: undefined };
  const { vision } = mediaOrder(media, config);
  const steps = media.gridThw[0];
  const cells = vision.length / steps;
  const count = Math.max(cells, Math.round(ratio * vision.length));
  const kept = await keptTokens({ embeds, dtype }, vision, cells, count, config.text.hiddenSize);
  const isKept = new Uint8Array(embeds.length / config.text.hiddenSize).fill(1);
  for (const [token, row] of vision.entries()) isKept[row] = kept[token] ?? 0;
  return {
    prompt: promptWithout(prompt, mediaRows(prompt.ids, config.tokens), isKept),
    embeds: rowsOf({ embeds, dtype }, isKept, config.text.hiddenSize),
    video: { kept: count, of: vision.length },
  };
}

/** 1 for each vision token that stays. Pauses after each step: all of a long video take more than 100 ms. */
async function keptTokens(
  { embeds, dtype }: Pick<CompressInput, 'embeds' | 'dtype'>,
  vision: Int32Array,
  cells: number,
  count: number,
  hidden: number,
): Promise<Uint8Array> {
  const rooms = [new Float32Array(hidden), new Float32Array(hidden)] as const;
  const row = (token: number, room: Float32Array<ArrayBuffer>): Float32Array => {
    const at = (vision[token] ?? 0) * hidden;
    return toFloat32(embeds.subarray(at, at + hidden), dtype, room);
  };
  const later = Array.from({ length: vision.length - cells }, (_, index) => index + cells);
  const likeness = new Float64Array(vision.length);
  for (const token of later) {
    likeness[token] = cosine(row(token, rooms[0]), row(token - cells, rooms[1]));
    if (token % cells === 0) await nextTurn();
  }
  const kept = new Uint8Array(vision.length).fill(1, 0, cells);
  // Of equal ones the earlier stays, so that the choice does not depend on the sort.
  later.sort((one, other) => (likeness[one] ?? 0) - (likeness[other] ?? 0) || one - other);
  for (const token of later.slice(0, count - cells)) kept[token] = 1;
  return kept;
}

function cosine(one: Float32Array, other: Float32Array): number {
  let [product, square, otherSquare] = [0, 0, 0];
  for (let index = 0; index < one.length; index++) {
    const [left, right] = [one[index] ?? 0, other[index] ?? 0];
    product += left * right;
    square += left * left;
    otherSquare += right * right;
  }
  const length = Math.sqrt(square * otherSquare);
  return length === 0 ? 1 : product / length;
}

function rowsOf(
  { embeds, dtype }: Pick<CompressInput, 'embeds' | 'dtype'>,
  isKept: Uint8Array,
  hidden: number,
): FloatArray {
  const left = isKept.reduce((sum, flag) => sum + flag, 0);
  const kept = newFloats(dtype, left * hidden);
  let at = 0;
  for (const [row, flag] of isKept.entries()) {
    if (flag === 0) continue;
    kept.set(embeds.subarray(row * hidden, (row + 1) * hidden), at);
    at += hidden;
  }
  return kept;
}

/** The prompt without some of its placeholders; what stays, and what will be generated, keeps its position. */
function promptWithout({ ids, positions, ropeDelta, counts }: Prompt, rows: Int32Array, isKept: Uint8Array): Prompt {
  const gone = new Set([...rows].filter((_, media) => isKept[media] === 0));
  const left = Array.from(ids.keys()).filter((row) => !gone.has(row));
  const pick = (values: Int32Array, offset: number): Int32Array =>
    Int32Array.from(left, (row) => values[offset + row] ?? 0);
  const axes = [0, 1, 2].flatMap((axis) => [...pick(positions, axis * ids.length)]);
  return {
    ids: pick(ids, 0),
    positions: Int32Array.from(axes),
    ropeDelta: ropeDelta + gone.size,
    counts: { ...counts, video: counts.video - gone.size, total: counts.total - gone.size },
  };
}
