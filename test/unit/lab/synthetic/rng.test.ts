import { describe, expect, it } from 'vitest';
import { Rng } from '../../../../src/lab/synthetic/rng.ts';

const first = (seed: number, purpose = 'test'): number => new Rng(seed, purpose).unit();
const MANY = Array.from({ length: 10_000 }, (_, index) => index);

describe('Rng', () => {
  it('gives the same choices for the same seed and purpose, and others for any other', () => {
    expect(first(7)).toBe(first(7));
    const others = [first(7), first(8), first(7, 'tset'), first(7 + 2 ** 32), first(2 ** 53 - 1)];
    expect(new Set(others).size).toBe(others.length);
  });

  it('is uniform over consecutive seeds and over draws', () => {
    const rng = new Rng(1, 'test');
    for (const values of [MANY.map((seed) => first(seed)), MANY.map(() => rng.unit())]) {
      expect(values.every((value) => value >= 0 && value < 1)).toBe(true);
      const counts = Array.from(
        { length: 10 },
        (_, tenth) => values.filter((value) => Math.floor(value * 10) === tenth).length,
      );
      for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(130);
    }
  });

  it('applies weights and ignores surplus ones', () => {
    const rng = new Rng(2, 'test');
    const drawn = MANY.map(() => rng.weighted(['a', 'b'], [30, 10, 1000]));
    expect(drawn.filter((value) => value === 'a').length / MANY.length).toBeCloseTo(0.75, 1);
  });

  it('includes both ends of whole numbers, and never repeats values among some', () => {
    const rng = new Rng(3, 'test');
    expect(new Set(MANY.map(() => rng.whole(4, 6)))).toEqual(new Set([4, 5, 6]));
    MANY.slice(0, 100).forEach(() => {
      expect(new Set(rng.some([1, 2, 3, 4], 3)).size).toBe(3);
    });
  });

  it('has the mean and deviation of a normal distribution', () => {
    const rng = new Rng(4, 'test');
    const values = MANY.map(() => rng.gaussian(2));
    expect(values.reduce((sum, value) => sum + value, 0) / MANY.length).toBeCloseTo(0, 0);
    expect(Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / MANY.length)).toBeCloseTo(2, 0);
  });
});
