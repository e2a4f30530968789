import { describe, expect, it } from 'vitest';
import { RepetitionDetector, repetitionOf } from '../../../src/output/repetition.ts';
import { SeededRandom } from '../../fixtures/seeded-random.ts';

const SENTENCE_110 =
  'A woman in a long green coat walks slowly past the bakery while two dogs bark somewhere behind the closed gate ';
const SENTENCE_43 = 'The man keeps on turning the wooden wheel. ';
const ROOM = Array.from({ length: 39 }, (_, index) => `Frame ${index + 1} shows the same room.`).join(' ');
const STORY =
  'At first a dog runs over the wet grass and barks twice. Then a girl calls its name, "Rex, come here!", and the camera follows both to a wooden gate. ' +
  'A bell rings in the distance. A man in a blue shirt opens the gate and says, "There you are," while soft guitar music begins to play.';

/** The text as a detector sees it that grows by pieces; how long it was when the detector first said so. */
function collapseAt(text: string, pieceLength: number): number | undefined {
  const detector = new RepetitionDetector();
  for (let at = 0; at < text.length; at += pieceLength) {
    detector.push(text.slice(at, at + pieceLength));
    if (detector.collapsing) return Math.min(text.length, at + pieceLength);
  }
  return undefined;
}

describe('repetitionOf', () => {
  it.each([
    ['a short sentence forty times', 'The camera remains static. '.repeat(40), 27],
    ['a sentence of 110 characters six times', SENTENCE_110.slice(0, 109).concat(' ').repeat(6), 110],
    ['a sentence cut off in the thirteenth time', SENTENCE_43.repeat(12) + SENTENCE_43.slice(0, 20), 43],
    ['a loop after a good beginning', `${STORY} ${'and then the ball rolls on '.repeat(9)}`, 27],
    ['characters outside the first plane, counted as one each', 'ab🎈 cd🎈 '.repeat(20), 8],
    ['a language without blanks', '镜头保持静止，没有任何变化。'.repeat(12), 14],
    ['a loop whose blanks differ', 'the ball\nrolls   on \t'.repeat(12), 18],
  ])('finds %s at the end', (_, text, period) => {
    expect(repetitionOf(text)).toMatchObject({ tail: period });
  });

  it('finds a loop that ended before the caption did', () => {
    expect(repetitionOf(`${'The camera remains static. '.repeat(8)}${STORY}`)).toEqual({
      tail: undefined,
      inner: 27,
      nearCopy: true,
    });
    expect(repetitionOf(`${STORY} ${'and on '.repeat(30)}${STORY}`)).toEqual({
      tail: undefined,
      inner: 7,
      nearCopy: false,
    });
  });

  it('finds sentences that differ in their numbers alone', () => {
    expect(repetitionOf(ROOM)).toEqual({ tail: undefined, inner: undefined, nearCopy: true });
    const quoted = Array.from(
      { length: 6 },
      (_, index) => `${index + 1}. The sign reads "number ${index * 37} of this street."`,
    ).join(' ');
    expect(repetitionOf(quoted)).toMatchObject({ nearCopy: true });
    const chinese = Array.from(
      { length: 6 },
      (_, index) => `第${index * 37}帧显示的是同一个安静的房间，里面什么都没有发生任何变化。`,
    ).join('');
    expect(repetitionOf(chinese)).toMatchObject({ nearCopy: true });
  });

  it('finds words that come in the same groups again and again', () => {
    const random = new SeededRandom(7);
    const phrases = [
      'a red ball rolls to the left',
      'the small dog jumps over it',
      'someone laughs out loud and claps',
      'soft music plays in the background',
    ];
    const text = Array.from({ length: 50 }, () => random.pick(phrases)).join(' and ');
    expect(repetitionOf(text)).toEqual({ tail: undefined, inner: undefined, nearCopy: true });
  });

  it.each([
    ['laughter', 'Ha ha ha ha ha ha ha ha!'],
    ['dots', '………'],
    ['a short rule', '-'.repeat(16)],
    ['a long rule', `${STORY} ${'-'.repeat(500)}`],
    ['a pattern of signs', `${STORY} ${'=-+*'.repeat(100)}`],
    ['a short chant', 'USA! '.repeat(6)],
    ['a chorus sung three times', `${STORY} ${'"We will, we will rock you!" '.repeat(3)}`],
    ['five near-copies', Array.from({ length: 5 }, (_, index) => `Frame ${index} shows the same room.`).join(' ')],
    ['short sentences alike', 'He nods. '.repeat(6)],
    ['a good caption', STORY],
    ['nothing', ''],
    ['blanks', ' \n'.repeat(300)],
  ])('lets %s pass', (_, text) => {
    expect(repetitionOf(text)).toBeUndefined();
  });

  it('asks for exactly four times and 120 characters at the end', () => {
    const unit = 'abcdefghijklmnopqrstuvwxyz0123456789'; // 36, all different
    expect(repetitionOf(unit.repeat(4).slice(0, -1))).toBeUndefined();
    expect(repetitionOf(unit.repeat(4))).toMatchObject({ tail: 36 });
    expect(repetitionOf('abcdefghij'.repeat(12).slice(0, -1))).toBeUndefined();
    expect(repetitionOf('abcdefghij'.repeat(12))).toMatchObject({ tail: 10, inner: undefined });
    // Inside: five times, 200 characters.
    expect(repetitionOf(unit.repeat(6).slice(0, 199))).toMatchObject({ tail: 36, inner: undefined });
    expect(repetitionOf(unit.repeat(6).slice(0, 200))).toMatchObject({ inner: 36 });
  });

  it('looks for units of up to 400 characters', () => {
    const random = new SeededRandom(3);
    const unit = (length: number): string =>
      Array.from({ length }, () => String.fromCharCode(97 + random.below(26))).join('');
    expect(repetitionOf(unit(400).repeat(4))).toMatchObject({ tail: 400 });
    expect(repetitionOf(unit(401).repeat(4))).toBeUndefined();
  });
});

describe('RepetitionDetector', () => {
  it('sees a loop as soon as it is one, however the text is cut', () => {
    for (const pieceLength of [1, 3, 7, 1000]) {
      const text = `${STORY} ${'The camera remains static. '.repeat(40)}`;
      const at = collapseAt(text, pieceLength);
      expect(at, `in pieces of ${pieceLength}`).toBeLessThan(Math.max(STORY.length + 150 + pieceLength, pieceLength));
      expect(at).toBeGreaterThan(STORY.length + 100);
    }
  });

  it('sees near-copies when the seventh sentence has begun', () => {
    expect(collapseAt(ROOM, 1)).toBe(ROOM.indexOf(' Frame 7') + 2);
  });

  it('finds the same in pieces as in the whole text', () => {
    for (const text of [ROOM, STORY, `${STORY} `.repeat(5), 'The camera remains static. '.repeat(40)]) {
      const detector = new RepetitionDetector();
      for (const character of text) detector.push(character);
      const found = detector.finish();
      expect(repetitionOf(text) ?? { tail: undefined, inner: undefined, nearCopy: false }).toEqual(found);
    }
  });

  it('goes back to good when a tail loop ends early', () => {
    const detector = new RepetitionDetector();
    detector.push('and on '.repeat(20));
    expect(detector.collapsing).toBe(true);
    detector.push('until the bell rings.');
    expect(detector.collapsing).toBe(false);
  });
});
