import { describe, expect, it } from 'vitest';
import { argmax, expMinus, logSumExp, sumOfExps } from '../../../src/engine/softmax.ts';
import { Random } from '../../../src/base/random.ts';

describe('softmax', () => {
  it('takes the first of equal maxima, wherever it stands', () => {
    for (let length = 1; length < 12; length++) {
      for (let at = 0; at < length; at++) {
        const scores = new Float32Array(length).fill(-5);
        scores.fill(3, at);
        expect(argmax(scores)).toBe(at);
      }
    }
    expect(argmax(Float32Array.of(-Infinity, -Infinity, -2, -Infinity, -2))).toBe(2);
    expect(argmax(Float32Array.of(NaN, 1, NaN, 4, 3, NaN))).toBe(3);
    expect(argmax(Float32Array.of(NaN, NaN))).toBe(0);
  });

  it('knows exp(-distance) to ten digits, and calls it nothing beyond 40', () => {
    for (let distance = 0; distance <= 40; distance += 0.0137)
      expect(Math.abs(expMinus(distance) / Math.exp(-distance) - 1)).toBeLessThan(2e-10);
    expect(expMinus(40)).toBeGreaterThan(0);
    expect(expMinus(40.001)).toBe(0);
    expect(expMinus(Infinity)).toBe(0);
    expect(expMinus(NaN)).toBeNaN();
  });

  it('sums a whole vocabulary like Math.exp does', () => {
    const random = Random.fromSeed(3);
    const scores = Float32Array.from({ length: 50_000 }, () => random.nextUnit() * 60 - 30);
    const maximum = scores[argmax(scores)] ?? 0;
    for (const temperature of [1, 0.3, 4]) {
      const exact = scores.reduce((sum, score) => sum + Math.exp((score - maximum) / temperature), 0);
      expect(sumOfExps(scores, maximum, temperature) / exact).toBeCloseTo(1, 9);
    }
    expect(logSumExp(scores, maximum)).toBeCloseTo(
      Math.log(scores.reduce((sum, score) => sum + Math.exp(score), 0)),
      9,
    );
  });

  it('gives no number when a score is not one', () => {
    expect(logSumExp(Float32Array.of(1, NaN, 2), 2)).toBeNaN();
    expect(logSumExp(Float32Array.of(1, Infinity, 2), Infinity)).toBeNaN();
    expect(logSumExp(Float32Array.of(1, -Infinity), 1)).toBe(1);
  });
});
