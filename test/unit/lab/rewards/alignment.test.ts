import { describe, expect, it } from 'vitest';
import { align } from '../../../../src/lab/rewards/alignment.ts';
import { dialogueF1 } from '../../../../src/lab/rewards/dialogue-f1.ts';
import { codePoints, pairableSimilarity } from '../../../../src/lab/similarity.ts';
import { SeededRandom } from '../../../fixtures/seeded-random.ts';
import { DIALOGUE_ROWS, REWARD_FIXTURES } from './fixtures.ts';

const counted = (pairs: readonly (readonly number[])[]): number[][] =>
  pairs.map((pair) => pair.map((index) => index + 1));
const matrix = (generated: readonly string[], reference: readonly string[]): number[][] =>
  generated.map((line) => reference.map((other) => pairableSimilarity(codePoints(line), codePoints(other), false)));

/** Every set of pairs that keeps the order of both sides. */
function bestByTrying(similarities: readonly (readonly number[])[], row = 0, column = 0): number {
  const values = similarities[row];
  if (values === undefined) return 0;
  let best = bestByTrying(similarities, row + 1, column);
  for (let at = column; at < values.length; at += 1) {
    if (values[at]! > 0) best = Math.max(best, values[at]! + bestByTrying(similarities, row + 1, at + 1));
  }
  return best;
}

describe('align', () => {
  it.each(REWARD_FIXTURES.dp)('finds $score in $S', ({ S, score, pairs }) => {
    const found = align(S.map((row) => row.map((value) => (value >= 0.6 ? value : 0))));
    expect(found.content).toBeCloseTo(score, 9);
    expect(counted(found.pairs)).toEqual(pairs);
  });

  it('finds the pairs of the reference in every row of dialogue', () => {
    for (const { generated, reference, content_score, pairs_1_based, speaker_score, value } of DIALOGUE_ROWS) {
      const { content, pairs } = align(matrix(generated, reference));
      expect(content).toBeCloseTo(content_score, 9);
      expect(counted(pairs)).toEqual(pairs_1_based);
      expect(
        dialogueF1({ generated: generated.length, reference: reference.length, content, speakers: speaker_score }, 1),
      ).toBeCloseTo(value, 9);
    }
  });

  it('is the best of all, and its pairs come to its total', () => {
    const random = new SeededRandom(7);
    for (let round = 0; round < 200; round += 1) {
      const [rows, columns] = [1 + random.below(5), random.below(6)];
      const similarities = Array.from({ length: rows }, () =>
        Array.from({ length: columns }, () => (random.unit() < 0.5 ? 0 : 0.6 + random.below(5) / 10)),
      );
      const { content, pairs } = align(similarities);
      expect(content).toBeCloseTo(bestByTrying(similarities), 9);
      expect(pairs.reduce((sum, [row, column]) => sum + similarities[row]![column]!, 0)).toBeCloseTo(content, 9);
      for (const [index, [row, column]] of pairs.entries()) {
        if (index > 0) expect(row > pairs[index - 1]![0] && column > pairs[index - 1]![1]).toBe(true);
      }
    }
  });

  it('takes neither the first fit nor the best pair when another order gives more', () => {
    const firstFit = matrix(['thank you so much', 'thank you'], ['thank you so', 'thank you so much', 'thank you']);
    expect(align(firstFit)).toEqual({
      content: 2,
      pairs: [
        [0, 1],
        [1, 2],
      ],
    });
    const bestFirst = align(
      matrix(['stop it nw', 'go go gp', 'come back here'], ['come back here', 'stop it now', 'go go go']),
    );
    expect(bestFirst.content).toBeCloseTo(1.784091, 6);
    expect(bestFirst.pairs).toEqual([
      [0, 1],
      [1, 2],
    ]);
  });

  it('is empty when a side is', () => {
    expect(align([])).toEqual({ content: 0, pairs: [] });
    expect(align([[], []])).toEqual({ content: 0, pairs: [] });
  });
});
