import { AvocadoError } from '../base/errors.ts';
import type { Shortlist } from '../model/execution/thinker.ts';
import { selectCandidates, topTokens, type Candidates, type DrawLimits } from './candidates.ts';
import { Random } from '../base/random.ts';
import { certainCandidates, certainTopTokens, type ScoreChange } from './shortlist.ts';
import { argmax, expMinus, logSumExp, sumOfExps } from './softmax.ts';
import type { SamplingParams, SuppressedTokens, TokenLogprob } from './types.ts';

/**
 * Makes tokens that were already seen less likely (Keskar et al., CTRL, section 4.1; transformers'
 * RepetitionPenaltyLogitsProcessor): a score below zero is multiplied, any other divided. Every prompt id counts,
 * placeholders too, as in the reference.
 */
export class RepetitionPenalty implements ScoreChange {
  readonly #penalty: number;
  readonly #known: Set<number>;
  readonly #ids: number[];
  #originals: Float32Array;

  /** @param promptIds [tokens] */
  constructor(penalty: number, promptIds: Int32Array) {
    this.#penalty = Math.fround(penalty); // the reference computes in float32
    this.#known = new Set(promptIds);
    this.#ids = [...this.#known];
    this.#originals = new Float32Array(this.#ids.length + 256);
  }

  add(id: number): void {
    if (this.#known.has(id)) return;
    this.#known.add(id);
    this.#ids.push(id);
  }

  get size(): number {
    return this.#ids.length;
  }

  get raises(): boolean {
    return this.#penalty < 1 && this.size > 0;
  }

  of(id: number, score: number): number {
    return this.#known.has(id) ? Math.fround(this.#penalised(score)) : score;
  }

  /**
   * Runs `choose` while `scores` [vocab] are penalised in place, which spares a copy of the
   * vocabulary; then puts them back.
   */
  during<Result>(scores: Float32Array, choose: () => Result): Result {
    this.#apply(scores);
    try {
      return choose();
    } finally {
      this.#restore(scores);
    }
  }

  #apply(scores: Float32Array): void {
    if (this.#originals.length < this.#ids.length) this.#originals = new Float32Array(this.#ids.length * 2);
    for (const [index, id] of this.#ids.entries()) {
      const score = scores[id];
      if (score === undefined) continue; // an embedding row without a logit
      this.#originals[index] = score;
      scores[id] = this.#penalised(score);
    }
  }

  #penalised(score: number): number {
    return score < 0 ? score * this.#penalty : score / this.#penalty;
  }

  #restore(scores: Float32Array): void {
    for (const [index, id] of this.#ids.entries()) {
      if (id < scores.length) scores[id] = this.#originals[index] ?? 0;
    }
  }
}

/**
 * OpenAI's presence and frequency penalties: score - presence * (count > 0) - frequency * count,
 * over generated tokens only.
 * Negative ones make repetition more likely.
 */
class CountPenalty implements ScoreChange {
  readonly #presence: number;
  readonly #frequency: number;
  readonly #counts = new Map<number, number>();

  constructor(presence: number, frequency: number) {
    this.#presence = presence;
    this.#frequency = frequency;
  }

  add(id: number): void {
    this.#counts.set(id, (this.#counts.get(id) ?? 0) + 1);
  }

  get size(): number {
    return this.#counts.size;
  }

  get raises(): boolean {
    return Math.min(this.#presence, this.#frequency) < 0 && this.size > 0;
  }

  of(id: number, score: number): number {
    const count = this.#counts.get(id);
    return count === undefined ? score : Math.fround(this.#penalised(score, count));
  }

  #penalised(score: number, count: number): number {
    return score - this.#presence - this.#frequency * count;
  }

  /**
   * Runs `choose` while `scores` [vocab] are penalised in place, which spares a copy of the
   * vocabulary; then puts them back.
   */
  during<Result>(scores: Float32Array, choose: () => Result): Result {
    const originals = new Float32Array(this.#counts.size);
    let at = 0;
    for (const [id, count] of this.#counts) {
      const score = scores[id] ?? 0;
      originals[at++] = score;
      scores[id] = this.#penalised(score, count);
    }
    try {
      return choose();
    } finally {
      at = 0;
      for (const id of this.#counts.keys()) scores[id] = originals[at++] ?? 0;
    }
  }
}

/** vLLM's `min_tokens`: ids that end a caption cannot be chosen before it has so many tokens. */
class Suppression implements ScoreChange {
  readonly raises = false;
  readonly #tokens: number;
  readonly #ids: readonly number[];
  #generated = 0;

  constructor({ ids, tokens }: SuppressedTokens) {
    this.#tokens = tokens;
    this.#ids = [...new Set(ids)]; // an id that is put back twice would stay suppressed
  }

  get active(): boolean {
    return this.#generated < this.#tokens;
  }

  get size(): number {
    return this.active ? this.#ids.length : 0;
  }

  add(): void {
    this.#generated += 1;
  }

  of(id: number, score: number): number {
    return this.active && this.#ids.includes(id) ? -Infinity : score;
  }

  /** Runs `choose` while the ids cannot be chosen from `scores` [vocab]; then puts their scores back. */
  during<Result>(scores: Float32Array, choose: () => Result): Result {
    const originals = this.#ids.map((id) => scores[id]);
    for (const id of this.#ids) if (id < scores.length) scores[id] = -Infinity;
    try {
      return choose();
    } finally {
      for (const [index, id] of this.#ids.entries()) if (id < scores.length) scores[id] = originals[index] ?? 0;
    }
  }
}

/** Log-probabilities are of the unmodified logits, not of those that penalties and temperature changed. */
export interface SampledToken extends TokenLogprob {
  /** the most likely tokens, best first, as many as were asked for */
  readonly top: readonly TokenLogprob[];
}

const NO_TOKENS: readonly TokenLogprob[] = [];

/**
 * Logits to token for one sequence, in the order of transformers' `generate`: suppressed tokens, repetition penalty
 * (then presence and frequency penalty, as vLLM has them), temperature, min-p, top-k, top-p, draw. Temperature 0 takes
 * the first maximum of the penalised logits.
 * It holds the sequence's own random state, so its tokens do not depend on what else is in the batch.
 */
export class Sampler {
  readonly #limits: DrawLimits;
  readonly #repetition: RepetitionPenalty | undefined;
  readonly #counts: CountPenalty | undefined;
  readonly #suppression: Suppression | undefined;
  /** those of the three that are on, in the order in which they change scores */
  readonly #changes: readonly ScoreChange[];
  readonly #random: Random;

  /** @param promptIds [tokens] count as seen @param seed used where `params.seed` is undefined */
  constructor(params: SamplingParams, promptIds: Int32Array, seed: number, suppress?: SuppressedTokens) {
    this.#limits = params;
    const { repetitionPenalty, presencePenalty, frequencyPenalty } = params;
    this.#repetition = repetitionPenalty === 1 ? undefined : new RepetitionPenalty(repetitionPenalty, promptIds);
    this.#counts =
      presencePenalty === 0 && frequencyPenalty === 0 ? undefined : new CountPenalty(presencePenalty, frequencyPenalty);
    this.#suppression = suppress === undefined ? undefined : new Suppression(suppress);
    this.#changes = [this.#suppression, this.#repetition, this.#counts].filter((change) => change !== undefined);
    this.#random = Random.fromSeed(params.seed ?? seed);
  }

  /**
   * @param logits [vocab] f32, unchanged on return @param topCount how many of the most likely tokens to tell
   * @throws AvocadoError `engine_error` when they are not numbers
   */
  sample(logits: Float32Array, topCount = 0): SampledToken {
    const first = argmax(logits);
    const normaliser = logSumExp(logits, logits[first] ?? 0);
    checkNumbers(normaliser);
    const id = this.#allowed(logits, first);
    this.#add(id);
    const top = topCount === 0 ? NO_TOKENS : topTokens(logits, topCount, normaliser);
    return { id, logprob: (logits[id] ?? 0) - normaliser, top };
  }

  /**
   * The token that sample() would take from the whole row, with the same random state afterwards. Undefined where the
   * list does not tell; then nothing has changed.
   * @throws AvocadoError `engine_error` when the logits are not numbers
   */
  sampleShortlist(list: Shortlist, topCount = 0): SampledToken | undefined {
    checkNumbers(list.logSumExp);
    const top = topCount === 0 ? NO_TOKENS : certainTopTokens(list, topCount);
    const candidates = top === undefined ? undefined : certainCandidates(list, this.#changes, this.#limits);
    if (top === undefined || candidates === undefined) return undefined;
    const id = this.#limits.temperature === 0 ? candidates.ids[0] : draw(candidates, this.#random.nextUnit());
    if (id === undefined) throw new Error('There is no token to draw. This is a bug.');
    this.#add(id);
    return { id, logprob: (list.values[list.ids.indexOf(id)] ?? NaN) - list.logSumExp, top };
  }

  #add(id: number): void {
    this.#repetition?.add(id);
    this.#counts?.add(id);
    this.#suppression?.add();
  }

  #allowed(logits: Float32Array, first: number): number {
    if (this.#suppression?.active !== true) return this.#penalised(logits, first);
    return this.#suppression.during(logits, () => this.#penalised(logits, argmax(logits)));
  }

  #penalised(logits: Float32Array, first: number): number {
    const [repetition, counts] = [this.#repetition, this.#counts];
    if (repetition === undefined && counts === undefined) return this.#choose(logits, first);
    const choose = (): number => this.#choose(logits, argmax(logits));
    const counted = (): number => (counts === undefined ? choose() : counts.during(logits, choose));
    return repetition === undefined ? counted() : repetition.during(logits, counted);
  }

  #choose(scores: Float32Array, first: number): number {
    const { temperature, minP, topK, topP } = this.#limits;
    if (temperature === 0) return first;
    const unit = this.#random.nextUnit();
    if (topK === 0 && topP >= 1 && minP === 0) return drawFromAll(scores, first, temperature, unit);
    return draw(selectCandidates(scores, this.#limits), unit) ?? first;
  }
}

function checkNumbers(normaliser: number): void {
  if (Number.isFinite(normaliser)) return;
  throw new AvocadoError(
    'engine_error',
    'The model returned logits that are not numbers. Check the checkpoint with `avocado doctor`, or use a wider precision.',
  );
}

/** The candidate at `unit` of the cumulative distribution. */
function draw({ ids, weights }: Candidates, unit: number): number | undefined {
  const wanted = unit * weights.reduce((sum, weight) => sum + weight, 0);
  let sum = 0;
  for (const [index, weight] of weights.entries()) {
    sum += weight;
    if (sum > wanted) return ids[index];
  }
  return ids[0]; // rounding at the very end
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
