import { Random } from '../../base/random.ts';

/** The choices of one sample: the same seed and purpose, the same choices, whatever else is chosen elsewhere. */
export class Dice {
  readonly #random: Random;

  /**
   * @param seed whole number, 0 to 2^53 - 1
   * @param purpose what is chosen: purposes do not disturb each other
   */
  constructor(seed: number, purpose: string) {
    // Each letter starts a sequence from where the one before led to.
    const begun = (random: Random, letter: string): Random =>
      Random.fromSeed(random.nextWord() * 2 ** 16 + letter.charCodeAt(0));
    this.#random = Array.from(purpose).reduce(begun, Random.fromSeed(seed));
  }

  /** 0 ≤ x < 1 */
  unit(): number {
    return this.#random.nextUnit();
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
