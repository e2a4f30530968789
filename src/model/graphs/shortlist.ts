// The end of a decoder whose logits stay on the device: the best tokens of each row and the sums that the sampler needs
// of all the others, some hundred bytes instead of the whole vocabulary.
import { int, type GraphBuilder } from './graph-builder.ts';
import { ONNX_TYPES } from '../checkpoint/weights.ts';

/** Tokens in a shortlist; all of a smaller vocabulary. */
const LONGEST_SHORTLIST = 64;

/** Graph inputs and outputs that a decoder has in addition when it gives shortlists. */
export const SHORTLIST_NAMES = {
  inverseTemperature: 'inverse_temperature',
  values: 'top_values',
  ids: 'top_ids',
  logSumExp: 'log_sum_exp',
  scaledLogSumExp: 'scaled_log_sum_exp',
} as const;

/** Tokens in the shortlist of this vocabulary. */
export function shortlistLength(vocabSize: number): number {
  return Math.min(LONGEST_SHORTLIST, vocabSize);
}

/**
 * Tokens of a part of the vocabulary whose best are found first, all parts in parallel; the best of all parts together
 * are then about as many. The whole vocabulary when no such length divides it.
 */
function partLength(vocabSize: number, count: number): number {
  for (let length = Math.floor(Math.sqrt(count * vocabSize)); length >= 2 * count; length--)
    if (vocabSize % length === 0) return length;
  return vocabSize;
}

/** Adds TopK over the last axis, with sorted values. Their order among equals is not defined. */
function addTop(graph: GraphBuilder, input: string, count: number, values: string, places: string): void {
  graph.constant(`${values}.count`, 'int64', [1], BigInt64Array.of(BigInt(count)));
  graph.nodeTo([values, places], 'TopK', [input, `${values}.count`], {
    attributes: { axis: int(-1), largest: int(1), sorted: int(1) },
  });
}

/** Log-sum-exp of each row, from its best logit [L, 1] and all logits [L, vocab] minus that. */
function addLogSumExp(graph: GraphBuilder, best: string, below: string, output: string): void {
  const terms = graph.node(`${output}.terms`, 'Exp', [below]);
  const sum = graph.node(`${output}.sum`, 'ReduceSum', [terms, 'vocabulary_axis'], {
    attributes: { keepdims: int(1) },
  });
  graph.node(output, 'Add', [graph.node(`${output}.log`, 'Log', [sum]), best]);
  graph.output(output, 'float32', ['logit_rows', 1]);
}

function addSums(graph: GraphBuilder, bestLogits: string): void {
  const names = SHORTLIST_NAMES;
  graph.constant('first', 'int64', [1], BigInt64Array.of(0n));
  graph.constant('vocabulary_axis', 'int64', [1], BigInt64Array.of(1n));
  const best = graph.node('top.first', 'Gather', [bestLogits, 'first'], { attributes: { axis: int(1) } });
  const below = graph.node('logits.below', 'Sub', ['logits', best]);
  addLogSumExp(graph, best, below, names.logSumExp);
  const scaled = (name: string, input: string) => graph.node(name, 'Mul', [input, names.inverseTemperature]);
  addLogSumExp(graph, scaled('top.scaled', best), scaled('logits.scaled', below), names.scaledLogSumExp);
}

/**
 * Adds for each row of `logits` f32 [L, vocab] the outputs
 * - top_values f32 and top_ids i32 [L, k], the largest logits, falling
 * - log_sum_exp f32 [L, 1]
 * - scaled_log_sum_exp f32 [L, 1], of logits · inverse_temperature
 *
 * and the input inverse_temperature f32 [L, 1]. L is at least 1.
 */
export function addShortlist(graph: GraphBuilder, vocabSize: number): void {
  const names = SHORTLIST_NAMES;
  const count = shortlistLength(vocabSize);
  const length = partLength(vocabSize, count);
  const parts = vocabSize / length;
  graph.input(names.inverseTemperature, 'float32', ['logit_rows', 1]);
  const logits = graph.reshape('logits.parts', 'logits', [-1, parts, length]);
  addTop(graph, logits, count, 'top.parts', 'top.places');
  const starts = BigInt64Array.from({ length: parts }, (_, part) => BigInt(part * length));
  graph.constant('part_starts', 'int64', [parts, 1], starts);
  const ids = graph.node('top.ids', 'Add', ['top.places', 'part_starts']);
  const values = graph.reshape('top.values', 'top.parts', [-1, parts * count]);
  const candidates = graph.reshape('top.candidates', ids, [-1, parts * count]);
  addTop(graph, values, count, names.values, 'top.best');
  const best = graph.node('top.best_ids', 'GatherElements', [candidates, 'top.best'], { attributes: { axis: int(1) } });
  graph.node(names.ids, 'Cast', [best], { attributes: { to: int(ONNX_TYPES.int32) } });
  graph.output(names.values, 'float32', ['logit_rows', count]);
  graph.output(names.ids, 'int32', ['logit_rows', count]);
  addSums(graph, names.values);
}
