import { describe, expect, it } from 'vitest';
import { codePoints, editsWithin, pairableSimilarity } from '../../../src/lab/similarity.ts';
import { SeededRandom } from '../../fixtures/seeded-random.ts';
import { DIALOGUE_ROWS, REWARD_FIXTURES } from './rewards/fixtures.ts';

/** Pairs of short words of few letters, so that every degree of similarity occurs. */
function randomWords(seed: number, count: number): [string, string][] {
  const random = new SeededRandom(seed);
  const word = (): string =>
    Array.from({ length: random.below(12) }, () => random.pick(['a', 'b', '天', '👍'])).join('');
  return Array.from({ length: count }, () => [word(), word()]);
}

const edits = (one: string, other: string, most = Infinity): number | undefined =>
  editsWithin(codePoints(one), codePoints(other), most);
const pairable = (one: string, other: string, strict = false): number =>
  pairableSimilarity(codePoints(one), codePoints(other), strict);

describe('similarity', () => {
  it.each(REWARD_FIXTURES.similarity)('of "$a" and "$b" is $sim', ({ a, b, lev, sim }) => {
    expect(edits(a, b)).toBe(lev);
    expect(edits(b, a)).toBe(lev);
    expect(pairable(a, b)).toBeCloseTo(sim >= 0.6 - 1e-9 ? sim : 0, 9);
  });

  it('counts the edits of every pair of lines as the reference does', () => {
    for (const { generated, reference, lev } of DIALOGUE_ROWS) {
      expect(generated.map((line) => reference.map((other) => edits(line, other)))).toEqual(lev);
    }
  });

  it('returns undefined exactly when there are more edits than allowed', () => {
    for (const [one, other] of randomWords(11, 400)) {
      const all = edits(one, other)!;
      expect(edits(one, other, all)).toBe(all);
      if (all > 0) expect(edits(one, other, all - 1)).toBeUndefined();
    }
  });

  it('counts code points after NFC', () => {
    expect(edits('👍🏽👍🏽', '👍🏻👍🏻')).toBe(2);
    expect(codePoints('👍🏽👍🏽')).toHaveLength(4);
    expect(pairable('caf\u00e9', 'cafe\u0301')).toBe(1);
  });

  it('applies the bound of 0.6 exactly: inclusive by default, exclusive when strict', () => {
    expect(pairable("i'm aubrey", "i'm amy")).toBe(0.6);
    expect(pairable("i'm aubrey", "i'm amy", true)).toBe(0);
    expect(pairable('abcde', 'abcxy')).toBe(0.6);
    expect(pairable('abcdefg', 'abcdxyz')).toBe(0);
    expect(pairable('yes', 'yeah')).toBe(0);
    expect(pairable('no', 'yo')).toBe(0);
    expect(pairable('i have 3 cats', 'i have three cats')).toBeCloseTo(12 / 17, 12);
  });

  it('agrees with its whole-number definition on random pairs', () => {
    for (const [one, other] of randomWords(5, 400)) {
      const longer = Math.max(codePoints(one).length, codePoints(other).length);
      const kept = longer - edits(one, other)!;
      expect(pairable(one, other)).toBe(longer === 0 ? 1 : 5 * kept >= 3 * longer ? kept / longer : 0);
      expect(pairable(one, other, true)).toBe(longer === 0 ? 1 : 5 * kept > 3 * longer ? kept / longer : 0);
    }
  });
});
