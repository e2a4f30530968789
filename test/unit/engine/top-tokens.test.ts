import { describe, expect, it } from 'vitest';
import { Random } from '../../../src/base/random.ts';
import { Sampler } from '../../../src/engine/sampler.ts';
import { topTokens } from '../../../src/engine/candidates.ts';
import { GREEDY } from './requests.ts';

function byHand(scores: Float32Array, count: number): number[] {
  return [...scores.keys()]
    .sort((left, right) => (scores[right] ?? 0) - (scores[left] ?? 0) || left - right)
    .slice(0, count);
}

describe('topTokens', () => {
  it.each(['random', 'ascending', 'descending', 'equal', 'of few values'])(
    'are those that sorting a %s vocabulary gives, lower ids first among equals',
    (kind) => {
      const random = Random.fromSeed(5);
      const makers: Record<string, (id: number) => number> = {
        random: () => random.nextUnit(),
        ascending: (id) => id,
        descending: (id) => -id,
        equal: () => 2,
        'of few values': () => Math.floor(random.nextUnit() * 7),
      };
      const scores = Float32Array.from({ length: 3001 }, (_, id) => makers[kind]?.(id) ?? 0);
      for (const count of [1, 2, 5, 20])
        expect(topTokens(scores, count, 0).map(({ id }) => id)).toEqual(byHand(scores, count));
    },
  );

  it('come with log-probabilities that sum to one over the whole vocabulary', () => {
    const logits = Float32Array.of(1, -2, 3, 0.5);
    const { id, logprob, top } = new Sampler(GREEDY, new Int32Array(0), 0).sample(logits, 4);
    expect(top.map((token) => token.id)).toEqual([2, 0, 3, 1]);
    expect(top[0]).toEqual({ id, logprob });
    expect(top.reduce((sum, token) => sum + Math.exp(token.logprob), 0)).toBeCloseTo(1, 9);
  });

  it("are the unmodified logits', whatever penalty or temperature chose the token", () => {
    const sampler = new Sampler({ ...GREEDY, repetitionPenalty: 1.5, presencePenalty: 2 }, Int32Array.of(0), 0);
    const logits = Float32Array.of(3, 2.9, 2.8);
    for (const expected of [1, 2]) {
      const { id, top } = sampler.sample(logits, 2);
      expect(id).toBe(expected);
      expect(top.map((token) => token.id)).toEqual([0, 1]);
    }
  });

  it('are fewer where fewer have a probability at all, and none where none are asked for', () => {
    expect(topTokens(Float32Array.of(-Infinity, 1, -Infinity, 2), 3, 2).map(({ id }) => id)).toEqual([3, 1]);
    expect(topTokens(Float32Array.of(1, 2), 20, 0)).toHaveLength(2);
    expect(new Sampler(GREEDY, new Int32Array(0), 0).sample(Float32Array.of(1, 2)).top).toEqual([]);
  });
});
