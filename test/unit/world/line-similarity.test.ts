import { describe, expect, it } from 'vitest';
import { areSimilar, editsBetween } from '../../../src/world/line-similarity.ts';

describe('line similarity', () => {
  it.each([
    ['go left', 'go left', 0, 7],
    ['kitten', 'sitting', 3, 7],
    ['', 'stop', 4, 4],
    ['stop', '', 4, 4],
    ['', '', 0, 0],
    ['cafe\u0301', 'caf\u00e9', 0, 4], // one letter however it is written
    ['a\u{1f600}b', 'ab', 1, 3], // a code point, not two halves
  ])('%j against %j: %i edits of %i', (one, other, edits, longer) => {
    expect(editsBetween(one, other)).toEqual({ edits, longer });
    expect(editsBetween(other, one)).toEqual({ edits, longer });
  });

  it('counts from exactly three fifths', () => {
    expect(areSimilar('abcde', 'abcxx')).toBe(true);
    expect(areSimilar('abcdefghij', 'abcdefwxyz')).toBe(true);
    expect(areSimilar('abcdefgh', 'abcdwxyz')).toBe(false);
    expect(areSimilar('', '')).toBe(true);
  });
});
