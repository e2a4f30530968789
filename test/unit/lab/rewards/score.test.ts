import { describe, expect, it } from 'vitest';
import { lengthReward, weightedSum, type WeightedReward } from '../../../../src/lab/rewards/score.ts';
import { PAPER_LENGTHS } from '../../../../src/lab/rewards/types.ts';
import { REWARD_FIXTURES } from './fixtures.ts';

describe('R_L', () => {
  it.each([...REWARD_FIXTURES.rl, [1437, 1], [2560, 0.75], [4095, 1 / 2048], [5000, 0]] as const)(
    'of %d tokens is %d',
    (tokens, value) => {
      expect(lengthReward(tokens, PAPER_LENGTHS)).toBeCloseTo(value, 9);
    },
  );

  it('has configurable bounds', () => {
    const bounds = { from: 192, to: 256, least: 4 };
    expect([3, 4, 192, 224, 256].map((tokens) => lengthReward(tokens, bounds))).toEqual([0, 1, 1, 0.5, 0]);
  });
});

const reward = (value: number | null, weight = 1, skipped = false): WeightedReward => ({ value, weight, skipped });

describe('R', () => {
  it.each([
    [0.75, 0.783784, 1437, 2.533784],
    [0.8333, 0.63, 2560, 2.2133],
    [0.9167, 0.25, 4096, 1.1667],
    [0, 0, 0, 1],
  ])('of R_C %d, R_D %d and %d tokens is %d', (checklist, dialogue, tokens, total) => {
    expect(
      weightedSum(
        [checklist, dialogue, lengthReward(tokens, PAPER_LENGTHS)].map((value) => reward(value)),
        false,
      ),
    ).toBeCloseTo(total, 9);
  });

  it('weighs each reward', () => {
    expect(weightedSum([reward(0.5, 2), reward(0.25, 4), reward(1, 0)], false)).toBe(2);
  });

  it('is null when one of them is, unless a partial sum was asked for', () => {
    expect(weightedSum([reward(0.5), reward(null)], false)).toBeNull();
    expect(weightedSum([reward(0.5), reward(null)], true)).toBe(0.5);
  });

  it('is null, not 0, where no reward has a value', () => {
    expect(weightedSum([reward(null), reward(null)], true)).toBeNull();
    expect(weightedSum([reward(null, 1, true)], false)).toBeNull();
  });

  it('leaves out a skipped reward', () => {
    expect(weightedSum([reward(0.5), reward(null, 1, true)], false)).toBe(0.5);
  });
});
