// Worked examples: lines in, R_D out; a list of verdicts stands in for the judge of speakers.
import { describe, expect, it } from 'vitest';
import { dialogueF1, dialogueReward, isWordless, align } from '../../../../src/lab/rewards/dialogue-reward.ts';
import type { Judge } from '../../../../src/lab/rewards/judges/judge.ts';
import { Unscored, type DialogueScore, type RewardOptions } from '../../../../src/lab/rewards/types.ts';
import { DIALOGUE_ROWS, REWARD_FIXTURES } from './fixtures.ts';
import { codePoints, pairableSimilarity } from '../../../../src/lab/similarity.ts';
import { SeededRandom } from '../../../fixtures/seeded-random.ts';

type Options = Pick<RewardOptions, 'normalisation' | 'emptyBoth' | 'strictGamma'>;
type Texts = readonly string[];
const RAW: Options = { normalisation: 'raw', emptyBoth: 1, strictGamma: false };

/** A judge with fixed lines of the caption and fixed verdicts about the speakers. */
function judgeOf(lines: readonly string[], same: readonly boolean[]): Judge & { asked: number } {
  const never = (): never => {
    throw new Error('Unexpected call.');
  };
  const judge = {
    asked: 0,
    describe: never,
    checklist: never,
    dialogues: async () => lines.map((content) => ({ speaker: 'a man', content })),
    sameSpeakers: async (pairs: readonly unknown[]) => {
      judge.asked += 1;
      return { same: pairs.map((_, index) => same[index] ?? false), mode: 'text' as const };
    },
  };
  return judge;
}

async function score(
  generated: Texts,
  reference: Texts,
  same: readonly boolean[],
  options: Partial<Options> = {},
): Promise<DialogueScore> {
  const dialogues = reference.map((content) => ({ speaker: 'the man', content }));
  const item = { completion: 'words', reference: { dialogues } };
  return dialogueReward(item, judgeOf(generated, same), { ...RAW, ...options }, new AbortController().signal);
}

const yes = (count: number): boolean[] => new Array<boolean>(count).fill(true);

describe('R_D', () => {
  it('is that of the reference for every row of dialogue in which each line has words', async () => {
    const rows = DIALOGUE_ROWS.filter(({ generated, reference }) => ![...generated, ...reference].some(isWordless));
    expect(rows.length).toBeGreaterThan(150);
    for (const row of rows) {
      const found = await score(row.generated, row.reference, row.speaker_yes);
      expect(found.value).toBeCloseTo(row.value, 9);
      expect(found.speakers).toBe(row.speaker_score);
    }
  });

  it.each(REWARD_FIXTURES.rd)('is $value for N $N, M $M', ({ N, M, content = 0, speaker = 0, value }) => {
    expect(dialogueF1({ generated: N, reference: M, content, speakers: speaker }, 1)).toBeCloseTo(value, 9);
  });

  it.each<
    [name: string, generated: readonly string[], reference: readonly string[], same: readonly boolean[], value: number]
  >([
    ['of equal lines is 1', ['hello there', "i'm amy"], ['hello there', "i'm amy"], yes(2), 1],
    [
      'falls with misheard words and a wrong speaker',
      ["i'm aubrey", "i'm amy", "you're watching food mania"],
      ["i'm aubrey", "i'm amy", "and you're watching food mania review"],
      yes(2),
      0.783784,
    ],
    [
      'pairs where it gains most',
      ['thank you so much', 'thank you'],
      ['thank you so', 'thank you so much', 'thank you'],
      yes(2),
      0.8,
    ],
    [
      'pays nothing for the wrong order',
      ['stop it nw', 'go go gp', 'come back here'],
      ['come back here', 'stop it now', 'go go go'],
      yes(2),
      0.630682,
    ],
    [
      'halves what a wrong speaker says',
      ['stop it nw', 'go go gp', 'come back here'],
      ['come back here', 'stop it now', 'go go go'],
      yes(1),
      0.464015,
    ],
    [
      'loses by lines told as one',
      ["i'm aubrey and i'm amy and you're watching food mania review"],
      ["i'm aubrey", "i'm amy", "and you're watching food mania review"],
      yes(1),
      0.404167,
    ],
    [
      'of Chinese lines counts characters',
      ['今天天气真好啊', '我们走吧'],
      ['今天天气真好', '我们走吧', '再见'],
      yes(1),
      0.571429,
    ],
    ['falls when a line is repeated', new Array<string>(6).fill("let's go"), ["let's go", 'come on'], yes(1), 0.25],
    ['is 0 when no pair is alike', ['yes'], ['yeah'], [], 0],
  ])('%s', async (_name, generated, reference, same, value) => {
    expect((await score(generated, reference, same)).value).toBeCloseTo(value, 6);
  });

  it('respects case and punctuation, unless normalisation is basic', async () => {
    const lines = [
      ["I'm Amy!", "You're watching!"],
      ["i'm amy", "you're watching"],
    ] as const;
    expect((await score(...lines, yes(2))).value).toBeCloseTo(0.875, 9);
    expect((await score(...lines, yes(2), { normalisation: 'basic' })).value).toBe(1);
    expect((await score(['“Café!”'], ["'café'"], yes(1), { normalisation: 'basic' })).value).toBe(1);
  });

  it('pairs lines of similarity 0.6, unless strict', async () => {
    expect((await score(['abcde'], ['abcxy'], yes(1))).value).toBeCloseTo(0.8, 9);
    expect((await score(['abcde'], ['abcxy'], yes(1), { strictGamma: true })).value).toBe(0);
  });

  it('of silence on both sides is what the option says; invented or missed speech is 0', async () => {
    expect((await score([], [], [])).value).toBe(1);
    expect((await score([], [], [], { emptyBoth: 0 })).value).toBe(0);
    expect((await score([], [], [], { emptyBoth: 'skip' })).value).toBeNull();
    expect((await score(['hello'], [], [])).value).toBe(0);
    expect((await score([], ['hello'], [])).value).toBe(0);
  });

  it('treats a line of dots as silence', async () => {
    expect(await score(['…', '...'], ['…'], [])).toMatchObject({ value: 1, generated: 0, reference: 0 });
  });

  it('is twice the combined score over all lines', async () => {
    const { value, content, speakers, generated, reference } = await score(
      ['one two three', 'four five six'],
      ['one two tree', 'four five sex', 'seven'],
      [true, false],
    );
    const combined = (content + speakers) / 2;
    const [recall, precision] = [combined / reference, combined / generated];
    expect(value).toBeCloseTo((2 * precision * recall) / (precision + recall), 12);
  });

  it('asks about speakers only when there is a pair, and then reports how they were compared', async () => {
    const judge = judgeOf(['hello there'], [true]);
    const item = (content: string): Parameters<typeof dialogueReward>[0] => ({
      completion: 'words',
      reference: { dialogues: [{ speaker: 'x', content }] },
    });
    expect(
      (await dialogueReward(item('something else'), judge, RAW, new AbortController().signal)).speakerMode,
    ).toBeUndefined();
    expect(judge.asked).toBe(0);
    expect((await dialogueReward(item('hello there'), judge, RAW, new AbortController().signal)).speakerMode).toBe(
      'text',
    );
  });

  it.each([undefined, { caption: ' \n' }])('needs a reference, not %j', async (reference) => {
    const questions: string[] = [];
    const dialogues: Judge['dialogues'] = (text) => {
      questions.push(text);
      return Promise.reject(new Unscored('parse_failed', 'Nobody waits for this.')); // would end the process
    };
    const judge = { ...judgeOf([], []), dialogues };
    const item = { completion: 'x', reference };
    const failure = await dialogueReward(item, judge, RAW, new AbortController().signal).catch(
      (error: unknown) => error,
    );
    expect(questions).toEqual([]);
    expect(failure).toBeInstanceOf(Unscored);
    expect(failure).toMatchObject({ code: 'no_reference' });
  });
});

const counted = (pairs: readonly (readonly number[])[]): number[][] =>
  pairs.map((pair) => pair.map((index) => index + 1));
const matrix = (generated: readonly string[], reference: readonly string[]): number[][] =>
  generated.map((line) => reference.map((other) => pairableSimilarity(codePoints(line), codePoints(other), false)));

/** The best total over all sets of pairs that keep the order of both sides. */
function bestByEnumeration(similarities: readonly (readonly number[])[], row = 0, column = 0): number {
  const values = similarities[row];
  if (values === undefined) return 0;
  let best = bestByEnumeration(similarities, row + 1, column);
  for (let at = column; at < values.length; at += 1) {
    if (values[at]! > 0) best = Math.max(best, values[at]! + bestByEnumeration(similarities, row + 1, at + 1));
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

  it('finds the optimum, and its pairs add up to its total', () => {
    const random = new SeededRandom(7);
    for (let round = 0; round < 200; round += 1) {
      const [rows, columns] = [1 + random.below(5), random.below(6)];
      const similarities = Array.from({ length: rows }, () =>
        Array.from({ length: columns }, () => (random.unit() < 0.5 ? 0 : 0.6 + random.below(5) / 10)),
      );
      const { content, pairs } = align(similarities);
      expect(content).toBeCloseTo(bestByEnumeration(similarities), 9);
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

  it('is empty when one side is empty', () => {
    expect(align([])).toEqual({ content: 0, pairs: [] });
    expect(align([[], []])).toEqual({ content: 0, pairs: [] });
  });
});
