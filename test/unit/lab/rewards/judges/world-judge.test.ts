import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { worldJudge } from '../../../../../src/lab/rewards/judges/open-judge.ts';
import { PAPER_LENGTHS, REWARDS, type ItemScore, type RewardItem } from '../../../../../src/lab/rewards/types.ts';
import { rewardOptions } from '../../../../../src/lab/rewards/wire.ts';
import { scoreItem } from '../../../../../src/lab/rewards/score.ts';

interface Clip {
  readonly reference: string;
  readonly tried: readonly {
    readonly caption: string;
    readonly score: {
      readonly recall: number;
      readonly claims: readonly [wrong: number, told: number];
      readonly dialogue: number | null;
    };
  }[];
}

/** Damaged captions and their scores by the recipe's scorer, in Python. */
const CLIPS = JSON.parse(
  readFileSync(new URL('../../../../fixtures/world/captions.json', import.meta.url), 'utf8'),
) as readonly Clip[];
const OPTIONS = rewardOptions({ rewards: REWARDS }, { length: PAPER_LENGTHS, normalisation: 'raw' });
const score = (item: RewardItem, options = OPTIONS): Promise<ItemScore> =>
  scoreItem(item, { judge: worldJudge() }, options, new AbortController().signal);

const REFERENCE =
  'On a plain gray background there is a small red circle on the left. At first, the red circle moves left while a man says "go left now".';

describe('the world judge', () => {
  it('gives the same scores as the recipe’s scorer', async () => {
    for (const { reference, tried } of CLIPS) {
      for (const {
        caption,
        score: {
          recall,
          claims: [wrong, told],
          dialogue,
        },
      } of tried) {
        const found = await score({ completion: caption, tokens: 10, reference: { caption: reference } });
        expect(found.checklist?.value).toBeCloseTo(recall, 12);
        expect(found.dialogue?.value).toBeCloseTo(dialogue ?? 1, 12);
        expect(found.precision).toMatchObject({ claims: told, falseClaims: wrong });
        expect(found.errors).toEqual([]);
      }
    }
  });

  it('gives the reference itself full marks', async () => {
    expect(await score({ completion: REFERENCE, tokens: 40, reference: { caption: REFERENCE } })).toMatchObject({
      total: 4,
      dialogue: { value: 1, speakerMode: 'exact' },
    });
  });

  it('compares speakers by their words', async () => {
    const { dialogue } = await score({
      completion: REFERENCE.replace('a man', 'a woman'),
      tokens: 40,
      reference: { caption: REFERENCE },
    });
    expect(dialogue).toMatchObject({ value: 0.5, content: 1, speakers: 0 });
  });

  it('rewards an empty caption only for its length', async () => {
    expect(await score({ completion: '', tokens: 0, reference: { caption: REFERENCE } })).toMatchObject({
      total: 1,
      precision: { value: 0 },
      length: { value: 1 },
    });
    const guarded = rewardOptions(
      { rewards: REWARDS, options: { minTokens: 1 } },
      { length: PAPER_LENGTHS, normalisation: 'raw' },
    );
    expect((await score({ completion: '', tokens: 0, reference: { caption: REFERENCE } }, guarded)).total).toBe(0);
  });

  it('lowers precision for invented claims', async () => {
    const { checklist, precision } = await score({
      completion: `${REFERENCE} There is no sound.`,
      tokens: 40,
      reference: { caption: REFERENCE },
    });
    expect(checklist?.value).toBe(1);
    expect(precision).toEqual({ value: 0.8, claims: 5, falseClaims: 1 });
  });

  it('reports what is missing instead of scoring 0', async () => {
    const { errors, total } = await score({ completion: REFERENCE });
    expect(total).toBeNull();
    expect(errors.map(({ reward, code }) => [reward, code])).toEqual([
      ['checklist', 'no_reference'],
      ['dialogue', 'no_reference'],
      ['length', 'no_token_count'],
      ['precision', 'no_reference'],
    ]);
  });

  it('does not judge captions of the real world', async () => {
    const { errors } = await score({
      completion: REFERENCE,
      tokens: 1,
      reference: { caption: 'A man walks his dog.' },
    });
    expect(errors).toMatchObject(
      ['checklist', 'dialogue', 'precision'].map((reward) => ({ reward, code: 'no_reference' })),
    );
  });
});
