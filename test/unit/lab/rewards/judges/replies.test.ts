import { describe, expect, it } from 'vitest';
import {
  parseChecklist,
  matchedKeypoints,
  parseKeypoints,
  uniqueKeypoints,
  parseDialogueLines,
  parseSpeakerVerdicts,
} from '../../../../../src/lab/rewards/judges/replies.ts';

const K = Array.from({ length: 24 }, (_, index) => `Keypoint number ${String.fromCharCode(97 + index).repeat(12)}`);
const reply = (count: unknown, listed: unknown): string =>
  JSON.stringify({ 'Count of correctly mentioned keypoints': count, 'Correctly mentioned keypoints': listed });

describe('R_C', () => {
  it('is 18/24 by list and 19/24 by count when the judge counts 19 and lists 19, one of them invented', () => {
    const text = reply(19, [...K.slice(0, 18), 'Something nobody asked about']);
    expect(parseChecklist(text, K, 'list')).toEqual({ value: 0.75, matched: 18, total: 24 });
    expect(parseChecklist(text, K, 'count')!.value).toBeCloseTo(0.7917, 4);
  });

  it('uses list or count when the other is missing', () => {
    expect(parseChecklist(reply(3, 'x'), K, 'list')!.matched).toBe(3);
    expect(parseChecklist(reply('many', K.slice(0, 2)), K, 'count')!.matched).toBe(2);
    expect(parseChecklist(JSON.stringify(K.slice(0, 5)), K, 'count')!.matched).toBe(5);
  });

  it.each([
    [99, 24],
    [-1, 0],
    [2.7, 2],
    ['7', 7],
  ])('bounds a count of %s', (count, matched) => {
    expect(parseChecklist(reply(count, undefined), K, 'count')!.matched).toBe(matched);
  });

  it.each(['', 'I liked it.', '{}', '"nineteen"', reply(null, null), reply('', 'x'), reply(true, {})])(
    'is unreadable, not 0, for %j',
    (text) => {
      expect(parseChecklist(text, K, 'list')).toBeUndefined();
    },
  );
});

describe('matchedKeypoints', () => {
  const keypoints = ['A man in a red shirt sings', 'A man in a red shirt sits', 'It rains'];

  it('ignores case, spaces and one letter in ten', () => {
    expect(matchedKeypoints(['a MAN in a  red shirt sings', 'It rain'], keypoints)).toBe(1);
    expect(matchedKeypoints(['A man in a red shirt singss'], keypoints)).toBe(1);
  });

  it('counts each keypoint and each string once, the most similar first', () => {
    expect(matchedKeypoints(['It rains', 'it rains', 'IT RAINS'], keypoints)).toBe(1);
    expect(matchedKeypoints(['A man in a red shirt sits', 'A man in a red shirt sings'], keypoints)).toBe(2);
    expect(matchedKeypoints(['A man in a red shirt sit', 'A man in a red shirt sits'], keypoints.slice(0, 2))).toBe(1);
  });
});

describe('parseKeypoints', () => {
  it('reads lists of strings or of objects, each keypoint once', () => {
    expect(parseKeypoints('["A dog", "a  dog ", "It barks"]')).toEqual(['a  dog', 'It barks']);
    expect(parseKeypoints("['A dog', 'It\\'s big']")).toEqual(['A dog', "It's big"]);
    expect(parseKeypoints('{"keypoints": [{"dimension": "static", "text": "A dog"}]}')).toEqual(['A dog']);
  });

  it.each(['[]', '["", " "]', 'none', '{"a": 1}'])('finds none in %s', (text) => {
    expect(parseKeypoints(text)).toBeUndefined();
    expect(uniqueKeypoints(['', ' '])).toEqual([]);
  });
});

describe('parseDialogueLines', () => {
  it.each<[name: string, reply: string, lines: readonly (readonly [string, string])[]]>([
    [
      'one line each',
      'Man in red: "Hello."\n\nWoman: "Hi there!"\n',
      [
        ['Man in red', 'Hello.'],
        ['Woman', 'Hi there!'],
      ],
    ],
    [
      'any quotes, or none',
      "A: “one”\nB: 'two'\nC: 「三」\nD: four",
      [
        ['A', 'one'],
        ['B', 'two'],
        ['C', '三'],
        ['D', 'four'],
      ],
    ],
    [
      'speakers in bold',
      '**Man in red:** "Hello."\n**Woman**: oh',
      [
        ['Man in red', 'Hello.'],
        ['Woman', 'oh'],
      ],
    ],
    ['full-width colons', '男人：“你好”', [['男人', '你好']]],
    [
      'colons in a description, when the words are quoted',
      'Man, text: STAFF: "I said: "no""',
      [['Man, text: STAFF', 'I said: "no"']],
    ],
    ['colons in words without quotes', 'Man: it is 10:30', [['Man', 'it is 10:30']]],
    [
      'words that go on below',
      'Man: "I came\nback home"\nWoman: oh\nreally',
      [
        ['Man', 'I came back home'],
        ['Woman', 'oh really'],
      ],
    ],
    ['nothing after closed quotes', 'Man: "Bye."\n(they leave)', [['Man', 'Bye.']]],
    ['no lines without words', 'Man: "…"\nWoman: "Yes"\nBoy: ""', [['Woman', 'Yes']]],
    ['apostrophes in descriptions', 'Man\'s friend: "it\'s me"', [["Man's friend", "it's me"]]],
  ])('reads %s', (_name, reply, lines) => {
    expect(parseDialogueLines(reply)).toEqual(lines.map(([speaker, content]) => ({ speaker, content })));
  });

  it.each(['None.', 'none', ' "None."'])('reads %s as silence', (reply) => {
    expect(parseDialogueLines(reply)).toEqual([]);
  });

  it.each(['', 'Nobody can be heard', 'Man: "…"'])('cannot read %j', (reply) => {
    expect(parseDialogueLines(reply)).toBeUndefined();
  });
});

describe('parseSpeakerVerdicts', () => {
  it('reads one word per pair', () => {
    expect(parseSpeakerVerdicts('Yes No\nyes, NO.', 4)).toEqual([true, false, true, false]);
    expect(parseSpeakerVerdicts('1. Yes 2. No', 2)).toEqual([true, false]);
  });

  it.each([
    ['Yes Yes', 3],
    ['Yes', 0],
    ['Not sure', 1],
    ['', 1],
  ] as const)('cannot read %j for %d pairs', (reply, pairs) => {
    expect(parseSpeakerVerdicts(reply, pairs)).toBeUndefined();
  });
});
