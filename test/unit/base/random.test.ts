import { describe, expect, it } from 'vitest';
import { Random } from '../../../src/base/random.ts';

describe('Random', () => {
  it('is xoshiro128** 1.1', () => {
    // printed by the authors' C code for the state {1, 2, 3, 4}
    const expected = [
      11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804,
    ];
    const random = new Random(Int32Array.of(1, 2, 3, 4));
    expect(expected.map(() => random.nextWord())).toEqual(expected);
  });

  it('repeats itself for a seed and differs between seeds, large and negative ones too', () => {
    const seeds = [0, 1, -1, 2, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1, -(2 ** 53 - 1), 42];
    const first = seeds.map((seed) => Random.fromSeed(seed).nextUnit());
    expect(seeds.map((seed) => Random.fromSeed(seed).nextUnit())).toEqual(first);
    expect(new Set(first).size).toBe(seeds.length);
  });

  it('is uniform in [0, 1), within a seed and across neighbouring seeds', () => {
    const one = Random.fromSeed(7);
    const draws = Array.from({ length: 20_000 }, () => one.nextUnit());
    const firsts = Array.from({ length: 20_000 }, (_, seed) => Random.fromSeed(seed).nextUnit());
    for (const values of [draws, firsts]) {
      expect(Math.min(...values)).toBeGreaterThanOrEqual(0);
      expect(Math.max(...values)).toBeLessThan(1);
      for (let tenth = 0; tenth < 10; tenth++) {
        const share = values.filter((value) => Math.floor(value * 10) === tenth).length;
        expect(Math.abs(share - 2000)).toBeLessThan(200); // 4.7 standard deviations
      }
    }
  });
});
