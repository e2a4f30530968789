import { describe, expect, it } from 'vitest';
import { lengthReward, PAPER_LENGTHS } from '../../../../src/lab/rewards/length-reward.ts';
import { REWARD_FIXTURES } from './fixtures.ts';

describe('R_L', () => {
  it.each([...REWARD_FIXTURES.rl, [1437, 1], [2560, 0.75], [4095, 1 / 2048], [5000, 0]] as const)(
    'of %d tokens is %d',
    (tokens, value) => {
      expect(lengthReward(tokens, PAPER_LENGTHS)).toBeCloseTo(value, 9);
    },
  );

  it('has bounds that can be set', () => {
    const bounds = { from: 192, to: 256, least: 4 };
    expect([3, 4, 192, 224, 256].map((tokens) => lengthReward(tokens, bounds))).toEqual([0, 1, 1, 0.5, 0]);
  });
});
