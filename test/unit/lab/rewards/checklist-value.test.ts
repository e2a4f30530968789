import { describe, expect, it } from 'vitest';
import {
  checklistScore,
  matchedKeypoints,
  parseKeypoints,
  uniqueKeypoints,
} from '../../../../src/lab/rewards/checklist-value.ts';

const K = Array.from({ length: 24 }, (_, index) => `Keypoint number ${String.fromCharCode(97 + index).repeat(12)}`);
const reply = (count: unknown, listed: unknown): string =>
  JSON.stringify({ 'Count of correctly mentioned keypoints': count, 'Correctly mentioned keypoints': listed });

describe('R_C', () => {
  it('of a judge who counts 19 and lists 19 of 24, one of which it made up, is 18/24 by list and 19/24 by count', () => {
    const text = reply(19, [...K.slice(0, 18), 'Something nobody asked about']);
    expect(checklistScore(text, K, 'list')).toEqual({ value: 0.75, matched: 18, total: 24 });
    expect(checklistScore(text, K, 'count')!.value).toBeCloseTo(0.7917, 4);
  });

  it('takes what there is when the other is missing', () => {
    expect(checklistScore(reply(3, 'x'), K, 'list')!.matched).toBe(3);
    expect(checklistScore(reply('many', K.slice(0, 2)), K, 'count')!.matched).toBe(2);
    expect(checklistScore(JSON.stringify(K.slice(0, 5)), K, 'count')!.matched).toBe(5);
  });

  it.each([
    [99, 24],
    [-1, 0],
    [2.7, 2],
    ['7', 7],
  ])('bounds a count of %s', (count, matched) => {
    expect(checklistScore(reply(count, undefined), K, 'count')!.matched).toBe(matched);
  });

  it.each(['', 'I liked it.', '{}', '"nineteen"'])('is not 0 but unread for %j', (text) => {
    expect(checklistScore(text, K, 'list')).toBeUndefined();
  });
});

describe('matchedKeypoints', () => {
  const keypoints = ['A man in a red shirt sings', 'A man in a red shirt sits', 'It rains'];

  it('forgives case, spaces and a letter in ten', () => {
    expect(matchedKeypoints(['a MAN in a  red shirt sings', 'It rain'], keypoints)).toBe(1);
    expect(matchedKeypoints(['A man in a red shirt singss'], keypoints)).toBe(1);
  });

  it('counts each keypoint and each string once, the likest first', () => {
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
