// The tensors of one shape of decoder run, made once and filled again for every step: a step allocates next to nothing.
import type { TextConfig } from '../checkpoint/config-types.ts';
import { cacheNames } from '../graphs/decoder.ts';
import type { DType, HostArray, HostTensor, Slab, SlabPiece, SlabView, Tensor } from '../runtime/runtime.ts';

/** Keys and values of one layer: [slots, kvHeads, rows, headDim] each. */
export type CacheSlabs = readonly (readonly [keys: Slab, values: Slab])[];

/** `slots` slots from `first`, `tokens` tokens for each, `wanted` rows of logits. */
export interface RunShape {
  readonly first: number;
  readonly slots: number;
  readonly tokens: number;
  readonly wanted: number;
}

export interface Media {
  /** [rows, 2] batch row and token row */
  readonly index: BigInt64Array<ArrayBuffer>;
  /** [rows, hidden] */
  readonly embeds: Float32Array<ArrayBuffer>;
}

/** The graph's tensors, and views to fill them by. int64 ones are written by their low words: all is below 2^31, never negative. */
export interface RunPlan {
  readonly feeds: Readonly<Record<string, Tensor>>;
  readonly fetches: Readonly<Record<string, Tensor>>;
  /** int64 [slots, tokens] */
  readonly ids: Int32Array;
  /** int64 [3, slots, tokens] */
  readonly positions: Int32Array;
  /** int64 [wanted] */
  readonly logitIndex: Int32Array;
  /** int32 [slots] */
  readonly lastIndex: Int32Array;
  /** int32 [] */
  readonly totalLength: Int32Array;
  readonly logits: Float32Array;
}

function host(dtype: DType, dims: readonly number[], data: HostArray): HostTensor {
  return { kind: 'host', dtype, dims, data };
}

function lowWords(array: BigInt64Array<ArrayBuffer>): Int32Array {
  return new Int32Array(array.buffer);
}

interface CacheViews {
  readonly past: Readonly<Record<string, SlabView>>;
  readonly present: Readonly<Record<string, SlabView>>;
}

function cacheViews(text: TextConfig, cache: CacheSlabs, rows: number, shape: RunShape): CacheViews {
  const { kvHeads, headDim } = text;
  const offset = shape.first * kvHeads * rows * headDim;
  const view = (slab: Slab): SlabView => ({ kind: 'slab', slab, offset, dims: [shape.slots, kvHeads, rows, headDim] });
  const past: Record<string, SlabView> = {};
  const present: Record<string, SlabView> = {};
  cache.forEach(([keys, values], layer) => {
    const names = cacheNames(layer);
    past[names.pastKey] = present[names.presentKey] = view(keys);
    past[names.pastValue] = present[names.presentValue] = view(values);
  });
  return { past, present };
}

/** Where the first `tokens` tokens of a slot lie in a slab, and where those of another: one piece per head. */
export function prefixPieces(text: TextConfig, rows: number, from: number, to: number, tokens: number): SlabPiece[] {
  const { kvHeads, headDim } = text;
  const start = (slot: number, head: number): number => (slot * kvHeads + head) * rows * headDim;
  return Array.from({ length: kvHeads }, (_, head) => ({
    from: start(from, head),
    to: start(to, head),
    elements: tokens * headDim,
  }));
}

/**
 * @param rows rows of one slot in a slab
 * @param logits [wanted, vocab], the caller's
 */
export function runPlan(
  text: TextConfig,
  cache: CacheSlabs,
  rows: number,
  shape: RunShape,
  media: Media,
  logits: Float32Array<ArrayBuffer>,
): RunPlan {
  const { slots, tokens, wanted } = shape;
  const ids = new BigInt64Array(slots * tokens);
  const positions = new BigInt64Array(3 * slots * tokens);
  const logitIndex = new BigInt64Array(wanted);
  const lastIndex = new Int32Array(slots);
  const totalLength = new Int32Array(1);
  const { past, present } = cacheViews(text, cache, rows, shape);
  const mediaRows = media.index.length / 2;
  const feeds = {
    input_ids: host('int64', [slots, tokens], ids),
    media_embeds: host('float32', [mediaRows, text.hiddenSize], media.embeds),
    media_index: host('int64', [mediaRows, 2], media.index),
    position_ids: host('int64', [3, slots, tokens], positions),
    seqlens_k: host('int32', [slots], lastIndex),
    total_len: host('int32', [], totalLength),
    logit_index: host('int64', [wanted], logitIndex),
    ...past,
  };
  const fetches = { logits: host('float32', [wanted, text.vocabSize], logits), ...present };
  const words = { ids: lowWords(ids), positions: lowWords(positions), logitIndex: lowWords(logitIndex) };
  return { feeds, fetches, ...words, lastIndex, totalLength, logits };
}
