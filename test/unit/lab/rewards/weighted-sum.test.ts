import { describe, expect, it } from 'vitest';
import { lengthReward, PAPER_LENGTHS } from '../../../../src/lab/rewards/length-reward.ts';
import { weightedSum, type Part } from '../../../../src/lab/rewards/weighted-sum.ts';

const part = (value: number | null, weight = 1, skipped = false): Part => ({ value, weight, skipped });

describe('R', () => {
  it.each([
    [0.75, 0.783784, 1437, 2.533784],
    [0.8333, 0.63, 2560, 2.2133],
    [0.9167, 0.25, 4096, 1.1667],
    [0, 0, 0, 1],
  ])('of R_C %d, R_D %d and %d tokens is %d', (checklist, dialogue, tokens, total) => {
    expect(
      weightedSum(
        [checklist, dialogue, lengthReward(tokens, PAPER_LENGTHS)].map((value) => part(value)),
        false,
      ),
    ).toBeCloseTo(total, 9);
  });

  it('weighs each reward', () => {
    expect(weightedSum([part(0.5, 2), part(0.25, 4), part(1, 0)], false)).toBe(2);
  });

  it('is null when one of them is, unless a partial sum was asked for', () => {
    expect(weightedSum([part(0.5), part(null)], false)).toBeNull();
    expect(weightedSum([part(0.5), part(null)], true)).toBe(0.5);
  });

  it('leaves out what was skipped by choice', () => {
    expect(weightedSum([part(0.5), part(null, 1, true)], false)).toBe(0.5);
  });
});
