/** The choices of one sample: the same seed and purpose, the same choices, whatever else is chosen elsewhere. */
export class Dice {
  #state: number;

  /**
   * @param seed whole number, 0 to 2^53 - 1
   * @param purpose what is chosen: purposes do not disturb each other
   */
  constructor(seed: number, purpose: string) {
    this.#state = 0;
    // A word at a time into the state, each well stirred: seeds that differ in any bit start elsewhere.
    for (const word of [seed, Math.floor(seed / 2 ** 32), ...Array.from(purpose, (letter) => letter.charCodeAt(0))]) {
      this.#state = (this.#state ^ word) | 0;
      this.#state = Math.floor(this.unit() * 2 ** 32) | 0;
    }
  }

  /** 0 ≤ x < 1; mulberry32 (Tommy Ettinger, public domain). */
  unit(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let word = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    word = (word + Math.imul(word ^ (word >>> 7), 61 | word)) ^ word;
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32;
  }

  /** Evenly from `from` to `to`. */
  between(from: number, to: number): number {
    return from + (to - from) * this.unit();
  }

  /** A whole number, both ends possible. */
  whole(from: number, to: number): number {
    return from + Math.floor(this.unit() * (to - from + 1));
  }

  chance(share: number): boolean {
    return this.unit() < share;
  }

  pick<T>(values: readonly T[]): T {
    return drawn(values[Math.floor(this.unit() * values.length)]);
  }

  /** @param weights one a value; those beyond the values do not count */
  weighted<T>(values: readonly T[], weights: readonly number[]): T {
    const used = weights.slice(0, values.length);
    let left = this.unit() * used.reduce((sum, weight) => sum + weight, 0);
    const index = used.findIndex((weight) => (left -= weight) < 0);
    return drawn(values.at(index)); // -1 only by rounding: the last
  }

  /** `count` different values, in any order. */
  some<T>(values: readonly T[], count: number): T[] {
    const left = [...values];
    return Array.from({ length: count }, () => drawn(left.splice(Math.floor(this.unit() * left.length), 1)[0]));
  }

  /** Of a normal distribution around 0. */
  gaussian(deviation: number): number {
    return deviation * Math.sqrt(-2 * Math.log(1 - this.unit())) * Math.cos(2 * Math.PI * this.unit());
  }
}

function drawn<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('There is nothing left to choose from. This is a bug.');
  return value;
}
