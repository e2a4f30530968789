/**
 * Makes tokens that were already seen less likely (Keskar et al., CTRL, section 4.1; transformers' RepetitionPenaltyLogitsProcessor): a score
 * below zero is multiplied, any other divided. Every prompt id counts, placeholders too, as in the reference.
 */
export class RepetitionPenalty {
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

  /** Runs `choose` while `scores` [vocab] are penalised in place, which spares a copy of the vocabulary; then puts them back. */
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
      scores[id] = score < 0 ? score * this.#penalty : score / this.#penalty;
    }
  }

  #restore(scores: Float32Array): void {
    for (const [index, id] of this.#ids.entries()) {
      if (id < scores.length) scores[id] = this.#originals[index] ?? 0;
    }
  }
}
