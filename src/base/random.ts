const TWO_32 = 2 ** 32;

function rotateLeft(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

/** The 32-bit finaliser of MurmurHash3: every input bit reaches every output bit. */
function mix(word: number): number {
  let mixed = word | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}

/**
 * xoshiro128** 1.1 (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2021). One per sequence, so
 * that a seed gives the same tokens beside any other load.
 */
export class Random {
  readonly #state: Int32Array;

  /** @param state four words, not all zero */
  constructor(state: Int32Array) {
    this.#state = state;
  }

  /**
   * State from any whole number |seed| < 2^53: a SplitMix sequence (golden-ratio steps, finalised) over its two halves.
   */
  static fromSeed(seed: number): Random {
    const low = seed | 0;
    const high = Math.floor(seed / TWO_32) | 0;
    const state = Int32Array.from({ length: 4 }, (_, index) =>
      mix(mix(low + Math.imul(index + 1, 0x9e3779b9)) ^ Math.imul(high, 0x85ebca77)),
    );
    if (state.every((word) => word === 0)) state[0] = 1;
    return new Random(state);
  }

  /** Next 32 bits, 0 … 2^32 - 1. */
  nextWord(): number {
    const [s0 = 0, s1 = 0, s2 = 0, s3 = 0] = this.#state;
    const result = Math.imul(rotateLeft(Math.imul(s1, 5), 7), 9);
    const mixed2 = s2 ^ s0;
    const mixed3 = s3 ^ s1;
    this.#state[0] = s0 ^ mixed3;
    this.#state[1] = s1 ^ mixed2;
    this.#state[2] = mixed2 ^ (s1 << 9);
    this.#state[3] = rotateLeft(mixed3, 11);
    return result >>> 0;
  }

  /** Uniform in [0, 1) with 53 bits. */
  nextUnit(): number {
    const high = this.nextWord() >>> 5;
    const low = this.nextWord() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }
}
