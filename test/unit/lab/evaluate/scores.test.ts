// The worked examples of the benchmarks: aggregation, formulas, and replies that break their contract.
import { describe, expect, it } from 'vitest';
import {
  chosenLetter,
  choiceScores,
  letteredChoices,
} from '../../../../src/lab/evaluate/benchmarks/choice-questions.ts';
import { filledTemplate } from '../../../../src/lab/evaluate/benchmarks/choice-datasets.ts';
import {
  collapseRepetitions,
  microScores,
  parseCountsOnly,
  parseEventCounts,
  videoSalmonn2,
} from '../../../../src/lab/evaluate/benchmarks/event-counts.ts';
import { parseLetters } from '../../../../src/lab/evaluate/benchmarks/cloze.ts';
import { cleanLine, dialogueScores, matchDialogues } from '../../../../src/lab/evaluate/benchmarks/dialogue-match.ts';
import {
  capricorn,
  consistency,
  mentionScore,
  parseGroups,
  parseHits,
  parseMention,
} from '../../../../src/lab/evaluate/benchmarks/keypoint-mentions.ts';
import { autoDq, parseEvents, parseRelations } from '../../../../src/lab/evaluate/benchmarks/event-entailment.ts';
import { parseMatch, shortAnswerScores } from '../../../../src/lab/evaluate/benchmarks/short-answers.ts';
import { parseRatings, ugcVideoCap } from '../../../../src/lab/evaluate/benchmarks/ugc-ratings.ts';
import { bootstrap, medianRun, quantile } from '../../../../src/lab/evaluate/evaluate.ts';
import type { Judged } from '../../../../src/lab/evaluate/benchmark.ts';

function rounded(scores: Readonly<Record<string, number | null>>): Record<string, number | null> {
  return Object.fromEntries(
    Object.entries(scores).map(([name, value]) => [name, value === null ? null : Math.round(value * 100) / 100]),
  );
}

describe('video-SALMONN-2 testset', () => {
  const worked = [
    { events: 40, missed: 8, incorrect: 3, hallucinated: 2 },
    { events: 20, missed: 5, incorrect: 1, hallucinated: 0 },
    { events: 30, missed: 6, incorrect: 2, hallucinated: 4 },
  ];
  const item = (events: number) => ({
    id: 'video/1.mp4',
    videos: [],
    prompt: '',
    data: { events: Array.from({ length: events }, (_, index) => `event ${index}`), reference: '' },
  });

  it('sums over all videos and does not average them', () => {
    const expected = { total: 34.44, miss: 21.11, hall: 13.33, incorrect: 6.67, hallucinated: 6.67 };
    expect(rounded(microScores(worked))).toEqual(expected);
    expect(microScores([]).total).toBeNull();
  });

  it('counts a video without a caption as all missed, or not at all as the scripts do', () => {
    const listed = { missed: [], incorrect: [], hallucinated: [] };
    const verdict = { events: 10, missed: 1, incorrect: 1, hallucinated: 0, listed, countsOnly: false };
    const judged = [
      { item: item(10), caption: 'x', verdict, failure: undefined },
      { item: item(10), caption: undefined, verdict: undefined, failure: 'no_caption' as const },
    ];
    expect(videoSalmonn2.score(judged, 'strict')['total']).toBeCloseTo(60);
    expect(videoSalmonn2.score(judged, 'compat')['total']).toBe(20);
  });

  const reply = (missed: number, incorrect: number, hallucinated: number): string =>
    JSON.stringify({
      Missed: missed,
      Incorrect: incorrect,
      Hallucination: hallucinated,
      'Missed Event': ['a'],
      'Incorrect Event': [],
      'Hallucination Event': [],
    });

  it.each([
    ['a good reply', reply(1, 0, 5), 'paper', true],
    ['a reply in a fence', `Here:\n\`\`\`json\n${reply(1, 1, 0)}\n\`\`\``, 'paper', true],
    ['a Python dictionary', reply(1, 0, 0).replaceAll('"', "'"), 'paper', true],
    ['more events than there are', reply(3, 1, 0), 'paper', false],
    ['the same, which the scripts take', reply(3, 1, 0), 'compat', true],
    ['a negative count', reply(-1, 0, 0), 'paper', false],
    ['no lists', '{"Missed": 1, "Incorrect": 0, "Hallucination": 0}', 'compat', false],
    ['prose', 'Two events are missed.', 'paper', false],
    ['a fraction', reply(0.5, 0, 0), 'paper', false],
  ] as const)('reads %s', (_name, text, preset, isRead) => {
    expect(parseEventCounts(text, 3, preset) !== undefined).toBe(isRead);
  });

  it('takes counts without lists only when they add up', () => {
    const text = (correct: number): string =>
      JSON.stringify({ Missed: 1, Correct: correct, Incorrect: 1, Hallucination: 4 });
    expect(parseCountsOnly(text(3), 5)).toMatchObject({ missed: 1, incorrect: 1, hallucinated: 4, countsOnly: true });
    expect(parseCountsOnly(text(2), 5)).toBeUndefined();
  });

  it('collapses repetitions as the scripts do', () => {
    const sentence = 'The camera remains static. ';
    expect(collapseRepetitions(sentence.repeat(40))).toBe(sentence);
    expect(collapseRepetitions('USA! '.repeat(6))).toBe('USA! ');
    expect(collapseRepetitions('USA! '.repeat(4))).toBe('USA! '.repeat(4));
    const long = Array.from({ length: 60 }, (_, index) => String.fromCharCode(97 + ((index * index * 7) % 26))).join(
      '',
    );
    expect(collapseRepetitions(`${long.repeat(4)}.`)).toBe(`${long}.`);
    expect(collapseRepetitions(`${long.repeat(3)}.`)).toBe(`${long.repeat(3)}.`);
    expect(collapseRepetitions('a\n'.repeat(20))).toBe('a\n'.repeat(20));
    const unit = 'x'.repeat(10);
    expect(collapseRepetitions(`${unit.repeat(9)}<|im_end|>`)).toBe(unit.repeat(9));
  });

  it('agrees with the pattern of the scripts on texts that mix loops and none', () => {
    const pattern = (text: string): string => {
      let rest = text;
      for (let unit = 1; unit < 100; unit += 1)
        rest = rest.replace(new RegExp(`(.{${unit}})\\1{${unit < 50 ? 4 : 3},200}`, 'gu'), '$1');
      return rest;
    };
    const texts = [
      'ab'.repeat(9),
      'ha '.repeat(7),
      'a',
      'aaaa\naaaaaaa',
      'one two three '.repeat(5),
      'ababcababcababcababcababc',
    ];
    for (const one of texts)
      for (const other of texts) expect(collapseRepetitions(`${one}.${other}`)).toBe(pattern(`${one}.${other}`));
  });
});

describe('UGC-VideoCap', () => {
  const judged = (
    verdict: { visual: number; audio: number; details: number } | undefined,
  ): Judged<{ reference: string }, { visual: number; audio: number; details: number }> => ({
    item: { id: 'x', videos: [], prompt: '', data: { reference: '' } },
    caption: 'c',
    verdict,
    failure: verdict === undefined ? 'unreadable' : undefined,
  });
  const worked = [
    judged({ visual: 4, audio: 5, details: 3 }),
    judged({ visual: 3, audio: 2, details: 5 }),
    judged(undefined),
  ];

  it('counts an unreadable judge as 0 like the scripts, or leaves it out', () => {
    const compat = { visual: 46.67, audio: 46.67, details: 53.33, average: 48.89 };
    expect(rounded(ugcVideoCap.score(worked, 'compat'))).toEqual(compat);
    expect(rounded(ugcVideoCap.score(worked, 'strict'))).toEqual({
      visual: 70,
      audio: 70,
      details: 80,
      average: 73.33,
    });
  });

  it('gives an empty caption the floor, or leaves it out like the scripts', () => {
    const empty = { ...judged(undefined), failure: 'no_caption' as const };
    expect(ugcVideoCap.score([empty], 'strict')['average']).toBe(20);
    expect(ugcVideoCap.score([empty], 'compat')['average']).toBeNull();
  });

  it.each([
    ['{"visual": 4, "audio": 3, "details": 5}', 'paper', true],
    ["Sure! {'visual': 4, 'audio': 3, 'details': 5} Done.", 'compat', true],
    ['{"visual": 6, "audio": 3, "details": 5}', 'paper', false],
    ['{"visual": 4, "audio": 3}', 'paper', false],
    ['4, 3, 5', 'compat', false],
  ] as const)('reads %s', (text, preset, isRead) => {
    expect(parseRatings(text, preset) !== undefined).toBe(isRead);
  });
});

describe('questions from the caption', () => {
  const question = (answer: string) => ({
    question: '',
    choices: letteredChoices(['one', 'two', 'three', 'four']),
    answer,
    kinds: {},
  });

  it('counts whole replies as the scripts do, or reads the letter', () => {
    const replies = ['B', 'A', 'C.', 'N/A', null];
    const answers = ['B', 'A', 'C', 'D', 'A'].map(
      (answer, index) => [question(answer), replies[index] ?? null] as const,
    );
    expect(choiceScores(answers, 'compat')['accuracy']).toBeCloseTo(40);
    expect(choiceScores(answers, 'strict')).toMatchObject({ accuracy: 60, answered: 60, accuracy_when_answered: 100 });
  });

  it.each([
    ['B', 'B'],
    ['b', 'B'],
    ['(B)', 'B'],
    ['B. Sizzling', 'B'],
    ['**C**', 'C'],
    ['B\n\nThe caption says so.', 'B'],
    ['A dog\nbarks', undefined],
    ['N/A', 'N/A'],
    ['n/a.', 'N/A'],
    ['E', undefined],
    ['The answer is unclear', undefined],
    ["I can't tell", 'N/A'],
    ['A dog barks', undefined],
    ['[D]', 'D'],
    ['', undefined],
  ])('reads %j as %s', (reply, letter) => {
    expect(chosenLetter(reply, 'ABCD')).toBe(letter);
  });

  it('fills the templates of MUSIC-AVQA', () => {
    expect(filledTemplate('Where is the <LR> <Object> ？', ['first', 'violin'])).toBe('Where is the first violin?');
    expect(filledTemplate('Is <Object>,the <FL> one? ', ['tuba', 'last'])).toBe('Is tuba,the last one?');
    expect(filledTemplate('How many sounds?', [])).toBe('How many sounds?');
  });
});

describe('VDC', () => {
  const yes = (score: number) => ({ answer: 'x', match: { pred: 'yes' as const, score } });
  const no = (score: number) => ({ answer: 'x', match: { pred: 'no' as const, score } });
  const unread = { answer: 'x', match: undefined };

  it('drops videos without a point as the scripts do, or keeps them', () => {
    const videos = [
      [yes(4), no(2), yes(5)],
      [no(1), no(0)],
      [yes(5), unread],
    ].map((answers) => ({
      questions: answers.length,
      answers,
    }));
    expect(rounded(shortAnswerScores(videos, 'compat'))).toEqual({ accuracy: 58.33, score: 3.08 });
    expect(rounded(shortAnswerScores(videos, 'strict'))).toEqual({ accuracy: 38.89, score: 2.22 });
  });

  it('takes a failed first step out of the denominator as the scripts do', () => {
    const videos = [{ questions: 2, answers: [yes(4), { answer: null }] }];
    expect(shortAnswerScores(videos, 'compat')).toEqual({ accuracy: 100, score: 4 });
    expect(shortAnswerScores(videos, 'strict')).toEqual({ accuracy: 50, score: 2 });
  });

  it.each([
    ["{'pred': 'yes', 'score': 4}", 'compat', true],
    ['{"pred": "no", "score": 0}', 'paper', true],
    ['{"pred": "maybe", "score": 3}', 'paper', false],
    ['{"pred": "yes", "score": 9}', 'paper', false],
    ['I think {"pred": "yes", "score": 4}', 'compat', false],
    ['I think {"pred": "yes", "score": 4}', 'paper', true],
  ] as const)('reads %s', (text, preset, isRead) => {
    expect(parseMatch(text, preset) !== undefined).toBe(isRead);
  });
});

describe('AutoDQ', () => {
  it('is the F1 of macro means', () => {
    const [recalls, precisions] = [
      [0.4, 0.3, 0.35, 0.45, 0.25],
      [0.5, 0.4, 0.45, 0.35, 0.3],
    ];
    const videos = recalls.map((recall, index) => ({ subset: `s${index}`, recall, precision: precisions[index]! }));
    expect(rounded(autoDq(videos))).toEqual({ f1: 37.33, recall: 35, precision: 40 });
    expect(autoDq([{ subset: 'a', recall: 0, precision: 0 }]).f1).toBe(0);
  });

  it('reads lists of events and relations, and no others', () => {
    expect(parseEvents('```{"events": ["a", "b"]}```')).toEqual(['a', 'b']);
    expect(parseEvents('["a"]')).toEqual(['a']);
    expect(parseEvents('a, b')).toBeUndefined();
    const reply = (relations: readonly string[]): string =>
      JSON.stringify({ events: relations.map((relationship) => ({ relationship })) });
    expect(parseRelations(reply(['entailment', 'Neutral']), ['a', 'b'])).toHaveLength(2);
    expect(parseRelations(reply(['entailment']), ['a', 'b'])).toBeUndefined();
    expect(parseRelations(reply(['entailment', 'implied']), ['a', 'b'])).toBeUndefined();
  });
});

describe('CapRiCorn-1K', () => {
  it('scores mentions and pairs of one name', () => {
    const event = (text: string, mention: 'correctly mentioned' | 'mentioned but with errors' | 'not mentioned') => ({
      event: text,
      mention,
      names: {},
    });
    const events = [
      event('<a> runs', 'correctly mentioned'),
      event('<a> meets <b>', 'mentioned but with errors'),
      event('<a> sits', 'correctly mentioned'),
      event('<a> sleeps', 'not mentioned'),
    ];
    // One group of two and one of one, of 4 events: 1 of 6 pairs.
    const score = mentionScore({ events, groups: { '<a>': [2, 1] } });
    expect(score).toEqual({ accuracy: 0.5, coverage: 0.75, consistency: 1 / 6 });
    expect(mentionScore({ events, groups: { '<a>': null } }).consistency).toBeUndefined();
    expect(consistency([4], 4)).toBe(1);
  });

  it('leaves out a clip without events', () => {
    const item = { id: '', videos: [], prompt: '', data: { duration: 9, subjectEvents: [], otherEvents: [] } };
    type Clip = Parameters<typeof capricorn.score>[0][number];
    const of = (...events: NonNullable<Clip['verdict']>['events']): Clip => {
      return { item, caption: 'x', verdict: { events, groups: {} }, failure: undefined };
    };
    const judged = [of(), of({ event: 'It rains', mention: 'correctly mentioned', names: {} })];
    expect(capricorn.score(judged, 'strict')).toMatchObject({
      accuracy: 100,
      coverage: 100,
    });
  });

  it('asks again where a mention names nobody, or groups lose a description', () => {
    const reply = (type: string, name: string | null): string =>
      JSON.stringify({ event_type: type, reason: '', subject_description_in_caption: { a: name } });
    expect(parseMention(reply('correctly mentioned', 'a boy'), ['<a>'])?.names).toEqual({ '<a>': 'a boy' });
    expect(parseMention(reply('correctly mentioned', null), ['<a>'])).toBeUndefined();
    expect(parseMention(reply('not mentioned', null), ['<a>'])?.mention).toBe('not mentioned');
    expect(parseMention('{"event_type": "maybe"}', [])).toBeUndefined();
    expect(parseGroups('{"category_1": ["x", "y"], "category_2": ["x"]}', ['x', 'y', 'x'])).toEqual([2, 1]);
    expect(parseGroups('{"category_1": ["x"]}', ['x', 'y'])).toBeUndefined();
    expect(parseGroups('{"category_1": ["x", "z"]}', ['x', 'y'])).toBeUndefined();
  });
});

describe('AVSCapBench', () => {
  it('splits the sounds, and fills up short lists only as the script does', () => {
    const events = { visual: ['v'], speech: ['s', 't'], music: [], sfx: ['f'], synergy: [] };
    const hits = { visual: [true], speech: [false, true], music: [], sfx: [true], synergy: [] };
    expect(parseHits('{"visual_hits": [1], "audio_hits": [0, 1, 1], "synergy_hits": []}', events, true)).toEqual({
      hits,
    });
    const short = '{"visual_hits": [1], "audio_hits": [0, 1], "synergy_hits": []}';
    expect(parseHits(short, events, true)).toBeUndefined();
    expect(parseHits(short, events, false)?.hits.sfx).toEqual([false]);
  });
});

describe('Omni-Cloze', () => {
  it('reads a letter for every blank', () => {
    expect(parseLetters('{"1": "A: a dog", "2": "E"}', 2)).toEqual(['A', 'E']);
    expect(parseLetters('{"1": "A"}', 2)).toBeUndefined();
    expect(parseLetters('{"1": "F"}', 1)).toBeUndefined();
  });
});

describe('DiaDemBench', () => {
  const lines = (...contents: readonly string[]) => contents.map((content) => cleanLine({ speaker: 'x', content }));

  it('joins neighbours of one speaker, on either side', () => {
    const parts = lines('I’m Aubrey', 'and I’m Amy', 'and you’re watching food mania review');
    const whole = lines('I’m Aubrey and I’m Amy and you’re watching food mania review.');
    expect(matchDialogues(whole, parts)).toEqual([{ generated: [0, 1], reference: [0, 3], similarity: 1 }]);
    expect(matchDialogues(parts, whole)).toEqual([{ generated: [0, 3], reference: [0, 1], similarity: 1 }]);
    const others = parts.map((line, index) => ({ ...line, speaker: String(index) }));
    expect(matchDialogues(whole, others)[0]?.reference).not.toEqual([0, 3]);
  });

  it('cuts no character in two', () => {
    expect(cleanLine({ speaker: '😀'.repeat(101), content: '𠀀'.repeat(1001) })).toEqual({
      speaker: '😀'.repeat(100),
      content: '𠀀'.repeat(1000),
    });
  });

  it('keeps the order, needs more than 0.6, and takes F1 of means', () => {
    expect(matchDialogues(lines('stop it now', 'go go go'), lines('go go go', 'stop it now'))).toHaveLength(1);
    expect(matchDialogues(lines('abcde'), lines('abcxy'))).toEqual([]);
    const pair = { generated: 'a', reference: 'a', similarity: 1, sameSpeaker: false };
    const scores = dialogueScores([
      { generated: 1, reference: 2, pairs: [pair] },
      { generated: 0, reference: 1, pairs: [] },
    ]);
    // words: precision (1 + 1) / 2, recall (0.5 + 0) / 2
    expect(scores.words).toBeCloseTo((100 * 2 * 0.25) / 1.25);
    expect(scores.speakers).toBeCloseTo(0);
  });
});

describe('uncertainty', () => {
  it('reports the median run', () => {
    expect(medianRun([5, 1, 7, 3, 6, 2, 4])).toBe(6);
    expect(medianRun([5, null, 1])).toBe(0);
    expect(medianRun([2])).toBe(0);
  });

  it('resamples the same way from one seed, around the score', () => {
    const values = Array.from({ length: 200 }, (_, index) => index % 10);
    const score = (sample: readonly number[]) => ({ mean: sample.reduce((sum, one) => sum + one, 0) / sample.length });
    const one = bootstrap(values, score, { resamples: 500, seed: 1 });
    expect(bootstrap(values, score, { resamples: 500, seed: 1 })).toEqual(one);
    expect(bootstrap(values, score, { resamples: 500, seed: 2 })).not.toEqual(one);
    // The standard error is 2.87 / sqrt(200) = 0.203.
    expect(one['mean']!.low).toBeCloseTo(4.5 - 1.96 * 0.203, 0);
    expect(one['mean']!.high - one['mean']!.low).toBeGreaterThan(0.6);
    expect(one['mean']!.high - one['mean']!.low).toBeLessThan(1);
    expect(quantile([0, 1, 2, 3], 0.5)).toBe(1.5);
  });
});
