import { Random } from '../../base/random.ts';

/** Random choices for one clip: the same seed and purpose give the same choices, independent of all other purposes. */
export class Rng {
  readonly #random: Random;

  /**
   * @param seed whole number, 0 to 2^53 - 1
   * @param purpose what is chosen, such as `script`; each purpose has its own sequence
   */
  constructor(seed: number, purpose: string) {
    // Each letter of the purpose starts a new sequence from the next word of the one before.
    const next = (random: Random, letter: string): Random =>
      Random.fromSeed(random.nextWord() * 2 ** 16 + letter.charCodeAt(0));
    this.#random = Array.from(purpose).reduce(next, Random.fromSeed(seed));
  }

  /** 0 ≤ x < 1 */
  unit(): number {
    return this.#random.nextUnit();
  }

  /** Uniform from `from` to `to`. */
  between(from: number, to: number): number {
    return from + (to - from) * this.unit();
  }

  /** A whole number from `from` to `to`, both included. */
  whole(from: number, to: number): number {
    return from + Math.floor(this.unit() * (to - from + 1));
  }

  chance(probability: number): boolean {
    return this.unit() < probability;
  }

  pick<T>(values: readonly T[]): T {
    return drawn(values[Math.floor(this.unit() * values.length)]);
  }

  /** @param weights one for each value; surplus weights do not count */
  weighted<T>(values: readonly T[], weights: readonly number[]): T {
    const used = weights.slice(0, values.length);
    let left = this.unit() * used.reduce((sum, weight) => sum + weight, 0);
    const index = used.findIndex((weight) => (left -= weight) < 0);
    return drawn(values.at(index)); // -1, the last value, only through rounding
  }

  /** `count` different values, in random order. */
  some<T>(values: readonly T[], count: number): T[] {
    const left = [...values];
    return Array.from({ length: count }, () => drawn(left.splice(Math.floor(this.unit() * left.length), 1)[0]));
  }

  /** Normal distribution with mean 0. */
  gaussian(deviation: number): number {
    return deviation * Math.sqrt(-2 * Math.log(1 - this.unit())) * Math.cos(2 * Math.PI * this.unit());
  }
}

function drawn<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('There is nothing left to choose from. This is a bug.');
  return value;
}
