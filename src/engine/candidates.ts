import { argmax, bucketOf, BUCKETS, expMinus } from './softmax.ts';
import type { TokenLogprob } from './types.ts';

/** Which tokens may be drawn: temperature, vLLM's min-p, then top-k and top-p as in transformers' logits warpers. */
export interface DrawLimits {
  /** > 0 */
  readonly temperature: number;
  /** 0 = off */
  readonly minP: number;
  /** 0 = off */
  readonly topK: number;
  /** 1 = off */
  readonly topP: number;
}

/**
 * Tokens that may be drawn, best first (the lower id among equals), and exp(score / temperature) of
 * each beside the best one's.
 */
export interface Candidates {
  readonly ids: Uint32Array;
  /** [ids.length], not normalised */
  readonly weights: Float64Array;
}

/** A sort key is 32 bits of score over 21 bits of id, together a whole number that a double holds. */
const ID_SPACE = 2 ** 21;

/** How scores are measured: (best - score) / temperature; what is farther than `farthest` is not drawn. */
interface Scale {
  readonly best: number;
  readonly temperature: number;
  readonly farthest: number;
}

/** Distances below the best score, in buckets of one table step. */
interface Histogram {
  readonly counts: Uint32Array;
  /** Σ exp(-distance) */
  readonly masses: Float64Array;
  readonly totalMass: number;
}

/**
 * Cuts the vocabulary to top-k and top-p. Only what may survive is sorted: a histogram of distances from the best score
 * tells first how far down that reaches.
 * @param scores [vocab] finite logits, already penalised
 */
export function selectCandidates(scores: Float32Array, limits: DrawLimits): Candidates {
  if (scores.length > ID_SPACE)
    throw new Error(`A vocabulary of ${scores.length} does not fit the sampler's sort keys. This is a bug.`);
  const { temperature, minP, topK, topP } = limits;
  const best = scores[argmax(scores)] ?? 0;
  const scale: Scale = { best, temperature, farthest: minP > 0 ? -Math.log(minP) : Infinity };
  const histogram = histogramOf(scores, scale);
  const last = topK > 0 ? lastBucket(histogram.counts, topK) : lastBucket(histogram.masses, topP * histogram.totalMass);
  const sorted = sortedIds(scores, scale, last, histogram);
  const ids = sorted.subarray(0, topK > 0 ? countTopK(sorted, scores, topK) : sorted.length);
  const weights = weightsOf(ids, scores, best, temperature);
  const mass = topK > 0 ? weights.reduce((sum, weight) => sum + weight, 0) : histogram.totalMass;
  const count = topP < 1 ? countTopP(weights, topP * mass) : ids.length;
  return { ids: ids.subarray(0, count), weights: weights.subarray(0, count) };
}

function histogramOf(scores: Float32Array, { best, temperature, farthest }: Scale): Histogram {
  const counts = new Uint32Array(BUCKETS + 1);
  const masses = new Float64Array(counts.length);
  let totalMass = 0;
  for (let id = 0; id < scores.length; id++) {
    const distance = (best - (scores[id] ?? 0)) / temperature;
    if (distance > farthest) continue;
    const bucket = bucketOf(distance);
    const mass = expMinus(distance);
    counts[bucket] = (counts[bucket] ?? 0) + 1;
    masses[bucket] = (masses[bucket] ?? 0) + mass;
    totalMass += mass;
  }
  return { counts, masses, totalMass };
}

/** The bucket in which the running sum reaches `wanted`, or the last one that weighs anything. */
function lastBucket(amounts: Uint32Array | Float64Array, wanted: number): number {
  let sum = 0;
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    sum += amounts[bucket] ?? 0;
    if (sum >= wanted) return bucket;
  }
  return BUCKETS - 1;
}

/**
 * Ids of the buckets 0 … `last`, best first. Typed arrays sort natively; a comparator over a flat
 * distribution would take 50 ms.
 */
function sortedIds(
  scores: Float32Array,
  { best, temperature, farthest }: Scale,
  last: number,
  histogram: Histogram,
): Uint32Array {
  const keys = new Float64Array(histogram.counts.subarray(0, last + 1).reduce((sum, count) => sum + count, 0));
  const bits = new Int32Array(scores.buffer, scores.byteOffset, scores.length);
  let filled = 0;
  for (let id = 0; id < scores.length; id++) {
    const distance = (best - (scores[id] ?? 0)) / temperature;
    if (distance > farthest || bucketOf(distance) > last) continue;
    keys[filled++] = descendingBits(bits[id] ?? 0) * ID_SPACE + id;
  }
  keys.sort();
  const ids = new Uint32Array(keys.length);
  for (let index = 0; index < ids.length; index++) ids[index] = (keys[index] ?? 0) % ID_SPACE;
  return ids;
}

function weightsOf(ids: Uint32Array, scores: Float32Array, best: number, temperature: number): Float64Array {
  const weights = new Float64Array(ids.length);
  for (let index = 0; index < ids.length; index++)
    weights[index] = expMinus((best - (scores[ids[index] ?? 0] ?? 0)) / temperature);
  return weights;
}

/** Sorts as an unsigned number the other way round than the float32 with these bits. */
export function descendingBits(bits: number): number {
  return (bits < 0 ? bits : bits ^ 0x7fffffff) >>> 0;
}

/** transformers keeps every token that ties with the k-th. */
function countTopK(sorted: Uint32Array, scores: Float32Array, topK: number): number {
  let count = Math.min(topK, sorted.length);
  const threshold = scores[sorted[count - 1] ?? 0];
  while (count < sorted.length && scores[sorted[count] ?? 0] === threshold) count++;
  return count;
}

/** The smallest number of best tokens whose mass reaches `wanted`; at least one. */
export function countTopP(weights: Float64Array, wanted: number): number {
  let sum = 0;
  for (let index = 0; index < weights.length; index++) {
    sum += weights[index] ?? 0;
    if (sum >= wanted) return index + 1;
  }
  return weights.length;
}

/**
 * The `count` most likely tokens, best first (the lower id among equals), without sorting the vocabulary: few scores
 * get past the worst one kept, so that a scan costs about what finding the maximum does.
 * @param scores [vocab] unmodified logits @param normaliser logSumExp of them
 * @returns fewer where fewer have any probability
 */
export function topTokens(scores: Float32Array, count: number, normaliser: number): TokenLogprob[] {
  const kept: number[] = [];
  let worst = -Infinity;
  for (let id = 0; id < scores.length; id++) {
    if (!((scores[id] ?? 0) > worst)) continue;
    if (kept.length >= count) kept.pop();
    insert(kept, id, scores);
    if (kept.length >= count) worst = scores[kept[count - 1] ?? 0] ?? 0;
  }
  return kept.map((id) => ({ id, logprob: (scores[id] ?? 0) - normaliser }));
}

/** After those that are not worse. */
function insert(kept: number[], id: number, scores: Float32Array): void {
  const score = scores[id] ?? 0;
  let at = kept.length;
  while (at > 0 && (scores[kept[at - 1] ?? 0] ?? 0) < score) at--;
  kept.splice(at, 0, id);
}
