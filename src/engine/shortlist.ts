// Sampling from a row's best tokens alone. What it answers is what the whole row would have given, to the token:
// where a token outside the list could matter, it answers nothing, and the caller fetches the row.
import type { Shortlist } from '../model/execution/thinker.ts';
import { countTopP, descendingBits, type Candidates, type DrawLimits } from './candidates.ts';
import { bucketOf, BUCKETS, expMinus } from './softmax.ts';
import type { TokenLogprob } from './types.ts';

/** A rule that changes the scores of some tokens. */
export interface ScoreChange {
  /** how many tokens it changes at most */
  readonly size: number;
  /** whether it may raise a score, so that a token from outside the list may pass one inside */
  readonly raises: boolean;
  /** The changed score, rounded to float32. */
  of(id: number, score: number): number;
}

/** Relative error of the device's float32 sums that is allowed for. */
const SUM_ERROR = 2e-4;
/** The same of its scaled logits and their logarithm, for each unit of their size: a few roundings to 24 bits. */
const SCALE_ERROR = 2 ** -21;
/** Relative error of sums in float64, here and in candidates.ts. */
const HOST_ERROR = 1e-9;
/** Below this, whether min-p keeps a token depends on how candidates.ts rounds its sums. */
const SMALLEST_MIN_P = 1e-10;

/** A shortlist after the changes, in the order in which candidates.ts sorts. */
interface Ranking {
  readonly ids: Uint32Array;
  readonly scores: Float32Array;
  /** no token outside scores more */
  readonly rest: number;
  /** tokens outside whose score may be lower than their logit */
  readonly lowered: number;
}

/** Sorts both in place, best first: an insertion sort, since they are nearly sorted. */
function sortBest(ids: Uint32Array, scores: Float32Array, isBefore: (left: number, right: number) => boolean): void {
  for (let index = 1; index < ids.length; index++) {
    for (let at = index; at > 0 && isBefore(at, at - 1); at--) {
      [ids[at], ids[at - 1]] = [ids[at - 1] ?? 0, ids[at] ?? 0];
      [scores[at], scores[at - 1]] = [scores[at - 1] ?? 0, scores[at] ?? 0];
    }
  }
}

function changed({ ids, values }: Shortlist, changes: readonly ScoreChange[]): Float32Array {
  return values.map((value, index) => changes.reduce((score, change) => change.of(ids[index] ?? 0, score), value));
}

function rank(list: Shortlist, changes: readonly ScoreChange[]): Ranking {
  const ids = Uint32Array.from(list.ids);
  const scores = changed(list, changes);
  const bits = new Int32Array(scores.buffer);
  const keyAt = (index: number): number => descendingBits(bits[index] ?? 0);
  sortBest(ids, scores, (left, right) => {
    const difference = keyAt(left) - keyAt(right);
    return difference === 0 ? (ids[left] ?? 0) < (ids[right] ?? 0) : difference < 0;
  });
  const lowered = changes.reduce((sum, { size }) => sum + size, 0);
  return { ids, scores, rest: list.values.at(-1) ?? -Infinity, lowered };
}

/**
 * What selectCandidates() finds in the whole row after the changes, or undefined where that is not certain. At
 * temperature 0 the first maximum alone.
 */
export function certainCandidates(
  list: Shortlist,
  changes: readonly ScoreChange[],
  limits: DrawLimits,
): Candidates | undefined {
  if (changes.some(({ raises }) => raises)) return undefined;
  const ranking = rank(list, changes);
  const { ids, scores, rest } = ranking;
  const best = scores[0] ?? -Infinity;
  if (!(best > rest)) return undefined;
  const { temperature, minP, topK, topP } = limits;
  if (temperature === 0) return { ids: Uint32Array.of(firstOfBest(ranking)), weights: Float64Array.of(1) };
  const farthest = minP > 0 ? -Math.log(minP) : Infinity;
  const drawable = (score: number): boolean => {
    const distance = (best - score) / temperature;
    return distance <= farthest && bucketOf(distance) < BUCKETS;
  };
  const complete = !drawable(rest);
  const end = scores.findIndex((score) => !(score > rest && drawable(score)));
  const known = end < 0 ? scores.length : end;
  const weights = Float64Array.from(scores.subarray(0, known), (score) => expMinus((best - score) / temperature));
  let count: number | undefined;
  if (topK > 0) count = countOfTopK(scores, weights, limits, complete);
  else if (topP < 1) {
    const mass = complete ? exactly(sumOf(weights)) : massBounds(list, ranking, limits, drawable);
    count = countBetween(weights, topP * mass.least, topP * mass.most);
  } else if (minP >= SMALLEST_MIN_P && complete) count = known;
  return count === undefined ? undefined : { ids: ids.subarray(0, count), weights: weights.subarray(0, count) };
}

/** The lowest id of the best score; 0 and -0 are equal here, but not in the order of the ranking. */
function firstOfBest({ ids, scores }: Ranking): number {
  const [best] = scores;
  return Math.min(...ids.filter((_, index) => scores[index] === best));
}

/** @param complete whether nothing but what has a weight can be drawn */
function countOfTopK(
  scores: Float32Array,
  weights: Float64Array,
  { topK, topP }: DrawLimits,
  complete: boolean,
): number | undefined {
  if (weights.length < topK && !complete) return undefined;
  let count = Math.min(topK, weights.length);
  while (count < weights.length && scores[count] === scores[count - 1]) count++;
  const kept = weights.subarray(0, count);
  return topP < 1 ? countTopP(kept, topP * sumOf(kept)) : count;
}

interface Bounds {
  readonly least: number;
  readonly most: number;
}

function exactly(mass: number): Bounds {
  return { least: mass * (1 - HOST_ERROR), most: mass * (1 + HOST_ERROR) };
}

/** Between which values Σ exp((score - best) / temperature) over all tokens that can be drawn is. */
function massBounds(
  { values, scaledLogSumExp }: Shortlist,
  { scores, rest, lowered }: Ranking,
  { temperature, minP }: DrawLimits,
  drawable: (score: number) => boolean,
): Bounds {
  const best = scores[0] ?? 0;
  const massOf = (score: number): number => Math.exp((score - best) / temperature);
  const error = SUM_ERROR + SCALE_ERROR * (Math.abs(values[0] ?? 0) / temperature + 40);
  const all = Math.exp(scaledLogSumExp - best / temperature);
  const listed = sumOf(Float64Array.from(values, massOf));
  const inside = sumOf(Float64Array.from(scores.filter(drawable), massOf));
  const most = all * (1 + error) - listed;
  if (!(most >= 0)) return { least: NaN, most: NaN }; // numbers beyond float64, or a sum that contradicts the list
  const least = minP > 0 ? 0 : Math.max(0, all * (1 - error) - listed - lowered * massOf(rest));
  return { least: exactly(inside + least).least, most: exactly(inside + most).most };
}

/** The smallest number of best tokens whose mass reaches either value, or undefined when the two need other numbers. */
function countBetween(weights: Float64Array, least: number, most: number): number | undefined {
  let sum = 0;
  for (const [index, weight] of weights.entries()) {
    sum += weight;
    if (sum >= most) return index + 1;
    if (!(sum < least)) return undefined;
  }
  return undefined;
}

function sumOf(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0);
}

/** What topTokens() finds in the whole row, or undefined where the list does not tell. */
export function certainTopTokens(list: Shortlist, count: number): readonly TokenLogprob[] | undefined {
  const ids = Uint32Array.from(list.ids);
  const values = list.values.slice();
  sortBest(ids, values, (left, right) => {
    const difference = (values[left] ?? 0) - (values[right] ?? 0);
    return difference === 0 ? (ids[left] ?? 0) < (ids[right] ?? 0) : difference > 0;
  });
  if (!((values[count - 1] ?? -Infinity) > (values.at(-1) ?? -Infinity))) return undefined;
  return Array.from(ids.subarray(0, count), (id, index) => ({ id, logprob: (values[index] ?? 0) - list.logSumExp }));
}
