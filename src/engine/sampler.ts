import { AvocadoError } from '../errors.ts';
import { selectCandidates, type DrawLimits } from './candidates.ts';
import { Random } from './random.ts';
import { RepetitionPenalty } from './repetition-penalty.ts';
import { argmax, expMinus, logSumExp, sumOfExps } from './softmax.ts';
import type { SamplingParams } from './types.ts';

export interface SampledToken {
  readonly id: number;
  /** natural logarithm of its probability under the unmodified logits, whatever penalties or temperature chose it */
  readonly logprob: number;
}

/**
 * Logits to token for one sequence, in the order of transformers' `generate`: repetition penalty, temperature, top-k,
 * top-p, draw. Temperature 0 takes the first maximum of the penalised logits. It holds the sequence's own random state,
 * so its tokens do not depend on what else is in the batch.
 */
export class Sampler {
  readonly #limits: DrawLimits;
  readonly #penalty: RepetitionPenalty | undefined;
  readonly #random: Random;

  /** @param promptIds [tokens] count as seen @param seed used where `params.seed` is undefined */
  constructor(params: SamplingParams, promptIds: Int32Array, seed: number) {
    this.#limits = params;
    this.#penalty = params.repetitionPenalty === 1 ? undefined : new RepetitionPenalty(params.repetitionPenalty, promptIds);
    this.#random = Random.fromSeed(params.seed ?? seed);
  }

  /**
   * @param logits [vocab] f32, unchanged on return
   * @throws AvocadoError `engine_error` when they are not numbers
   */
  sample(logits: Float32Array): SampledToken {
    const first = argmax(logits);
    const normaliser = logSumExp(logits, logits[first] ?? 0);
    if (!Number.isFinite(normaliser)) {
      throw new AvocadoError('engine_error', 'The model returned logits that are not numbers. Check the checkpoint with `avocado doctor`, or use a wider precision.');
    }
    const id = this.#penalty === undefined ? this.#choose(logits, first) : this.#penalty.during(logits, () => this.#choose(logits, argmax(logits)));
    this.#penalty?.add(id);
    return { id, logprob: (logits[id] ?? 0) - normaliser };
  }

  #choose(scores: Float32Array, first: number): number {
    const { temperature, topK, topP } = this.#limits;
    if (temperature === 0) return first;
    const unit = this.#random.nextUnit();
    if (topK === 0 && topP >= 1) return drawFromAll(scores, first, temperature, unit);
    const { ids, weights } = selectCandidates(scores, this.#limits);
    const wanted = unit * weights.reduce((sum, weight) => sum + weight, 0);
    let sum = 0;
    for (const [index, weight] of weights.entries()) {
      sum += weight;
      if (sum > wanted) return ids[index] ?? first;
    }
    return first;
  }
}

/** The token at `unit` of the cumulative distribution, in the order of ids. */
function drawFromAll(scores: Float32Array, first: number, temperature: number, unit: number): number {
  const best = scores[first] ?? 0;
  const wanted = unit * sumOfExps(scores, best, temperature);
  let sum = 0;
  for (let id = 0; id < scores.length; id++) {
    sum += expMinus((best - (scores[id] ?? 0)) / temperature);
    if (sum > wanted) return id;
  }
  return first; // rounding at the very end
}
