import { describe, expect, it } from 'vitest';
import { StopStrings } from '../../../src/output/output-processor.ts';
import { SeededRandom } from '../../fixtures/seeded-random.ts';

const run = (stops: readonly string[], pieces: readonly string[]): { shown: string[]; matched: boolean } => {
  const search = new StopStrings(stops);
  const shown = pieces.map((piece) => search.push(piece));
  return { shown: [...shown, search.flush()], matched: search.matched };
};

describe('stop strings', () => {
  it('cut the text where one begins, though it arrives in pieces', () => {
    expect(run(['END'], ['one E', 'N', 'D two', ' three'])).toEqual({ shown: ['one ', '', '', '', ''], matched: true });
  });

  it('hold back only what may begin one, and give it out when it does not', () => {
    expect(run(['\n\nQ:'], ['a\n', '\nb', 'c\n'])).toEqual({ shown: ['a', '\n\nb', 'c', '\n'], matched: false });
  });

  it('see a beginning inside a failed beginning', () => {
    expect(run(['aab'], ['a', 'a', 'a', 'b', 'c'])).toEqual({ shown: ['', '', 'a', '', '', ''], matched: true });
  });

  it.each([
    [['abc', 'b'], 'xabc', 'xa'],
    [['bc', 'abc'], 'xabc', 'x'],
    [['z', 'c'], 'xabcz', 'xab'],
  ])('%j: in %s the one complete first wins, the longer one if they end together', (stops, text, shown) => {
    expect(run(stops, [text])).toEqual({ shown: [shown, ''], matched: true });
  });

  it('let everything pass when there are none', () => {
    expect(run([], ['a', 'b'])).toEqual({ shown: ['a', 'b', ''], matched: false });
  });

  it('must not be empty', () => {
    expect(() => new StopStrings(['a', ''])).toThrow(expect.objectContaining({ code: 'bad_request', param: 'stop' }));
  });

  it('give the same text however it is cut, and never show part of the match', () => {
    const random = new SeededRandom(29);
    const word = (most: number): string =>
      Array.from({ length: 1 + random.below(most) }, () => random.pick(['a', 'b', '\n'])).join('');
    let matches = 0;
    for (let round = 0; round < 2000; round++) {
      const stops = Array.from({ length: 1 + random.below(3) }, () => word(5));
      const text = word(30);
      const pieces: string[] = [];
      for (let from = 0; from < text.length;) {
        const length = 1 + random.below(4);
        pieces.push(text.slice(from, from + length));
        from += length;
      }
      const { shown, matched } = run(stops, pieces);
      const found = stops
        .filter((stop) => text.includes(stop))
        .map((stop) => ({ stop, end: text.indexOf(stop) + stop.length }));
      const first = found.sort((a, b) => a.end - b.end || b.stop.length - a.stop.length)[0];
      expect(matched).toBe(first !== undefined);
      expect(shown.join('')).toBe(first === undefined ? text : text.slice(0, first.end - first.stop.length));
      matches += found.length === 0 ? 0 : 1;
    }
    expect(matches).toBeGreaterThan(500);
  });
});
