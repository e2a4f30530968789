/**
 * OpenAI's presence and frequency penalties: score - presence * (count > 0) - frequency * count, over generated tokens only.
 * Negative ones make repetition more likely.
 */
export class CountPenalty {
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

  /** Runs `choose` while `scores` [vocab] are penalised in place, which spares a copy of the vocabulary; then puts them back. */
  during<Result>(scores: Float32Array, choose: () => Result): Result {
    const originals = new Float32Array(this.#counts.size);
    let at = 0;
    for (const [id, count] of this.#counts) {
      const score = scores[id] ?? 0;
      originals[at++] = score;
      scores[id] = score - this.#presence - this.#frequency * count;
    }
    try {
      return choose();
    } finally {
      at = 0;
      for (const id of this.#counts.keys()) scores[id] = originals[at++] ?? 0;
    }
  }
}
