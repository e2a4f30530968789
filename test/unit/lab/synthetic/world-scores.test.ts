import { describe, expect, it } from 'vitest';
import { CATEGORIES } from '../../../../src/lab/synthetic/score-caption.ts';
import { scoreTable, worldScores, type Captioned } from '../../../bench/world-scores.ts';
import { CAPTIONS } from './captions.ts';

const TRIED = CAPTIONS.flatMap(({ reference, tried }) =>
  tried.map(({ caption, score }) => ({ caption, reference, score })),
);
const captioned = (caption: string, reference = caption, rest: Partial<Captioned> = {}): Captioned => ({
  caption,
  reference,
  tokens: 10,
  sound: true,
  ...rest,
});

const pooled = (pairs: readonly (readonly [number, number])[]): number =>
  (100 * pairs.reduce((sum, [hit]) => sum + hit, 0)) / pairs.reduce((sum, [, total]) => sum + total, 0);

describe('worldScores', () => {
  it('gives the same sums as the recipe', async () => {
    const ours = await worldScores(TRIED.map(({ caption, reference }) => captioned(caption, reference)));
    for (const name of CATEGORIES)
      expect(ours[name.replace('-', '_')]).toBeCloseTo(pooled(TRIED.map(({ score }) => score.categories[name])), 9);
    for (const name of ['verb', 'place', 'line', 'speaker'])
      expect(ours[name]).toBeCloseTo(pooled(TRIED.map(({ score }) => score.skills[name]!)), 9);
    expect(ours['recall']).toBeCloseTo(
      (100 * TRIED.reduce((sum, { score }) => sum + score.recall, 0)) / TRIED.length,
      9,
    );
    expect(ours['false_claims']).toBeCloseTo(pooled(TRIED.map(({ score }) => score.claims)), 9);
  });

  it('has 100 and 0 for perfect captions', async () => {
    const scores = await worldScores(CAPTIONS.map(({ reference }) => captioned(reference)));
    expect(scores).toMatchObject({
      captions: CAPTIONS.length,
      recall: 100,
      cross_modal: 100,
      false_claims: 0,
      dialogue_reward: 100,
      collapsed: 0,
      tokens: 10,
    });
  });

  it('averages the dialogue reward over captions with speech in the caption or its reference', async () => {
    const line = 'At first, a man says "go left".';
    const beep = captioned('', 'At first, a high beep is heard.');
    expect(
      await worldScores([
        captioned(line),
        captioned('', line),
        captioned(line, 'At first, a high beep is heard.'),
        beep,
      ]),
    ).toMatchObject({ dialogue_reward: expect.closeTo(100 / 3, 9) as number });
    expect(await worldScores([captioned('At first, a woman says "go left".', line)])).toMatchObject({
      dialogue_reward: 50,
    });
  });

  it('finds loops, and mentions of sound in clips without sound', async () => {
    const loop = 'Then the star spins. '.repeat(12);
    const scores = await worldScores([
      captioned(loop, '', { sound: false }),
      captioned('There is no sound.', '', { sound: false }),
      captioned('There is no sound.', ''),
    ]);
    expect(scores).toMatchObject({ collapsed: 100 / 3, says_sound_without_any: 50, dialogue_reward: null });
  });

  it('shows a dash when there is nothing to measure', async () => {
    const table = scoreTable(await worldScores([]));
    expect(table).toMatch(/^captions +0$/m);
    expect(table).toMatch(/^recall +- {3}keypoints stated/m);
  });
});
