import { describe, expect, it } from 'vitest';
import { keypointsOf, dialogueOf, scoreCaption, type Share } from '../../../../src/lab/synthetic/score-caption.ts';
import { readCaption, mentionsSound } from '../../../../src/lab/synthetic/read-caption.ts';
import { CAPTIONS, tupleOf } from './captions.ts';

const TRIED = CAPTIONS.flatMap(({ reference, tried }) => tried.map((one) => ({ reference, ...one })));

const pairs = (shares: Readonly<Record<string, Share>>): Record<string, [number, number]> =>
  Object.fromEntries(
    Object.entries(shares).map(([name, { hits, total }]) => [name.replaceAll('-', ' '), [hits, total]]),
  );
const spaced = (shares: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(shares).map(([name, share]) => [name.replaceAll('-', ' '), share]));

describe('the same as the recipe', () => {
  it('has enough to compare', () => {
    expect(CAPTIONS.length).toBeGreaterThanOrEqual(40);
    expect(TRIED.filter(({ score }) => score.recall > 0 && score.recall < 1).length).toBeGreaterThan(60);
    expect(TRIED.filter(({ score }) => score.claims[0] > 0).length).toBeGreaterThan(40);
  });

  it('finds the keypoints of a clip in its reference caption alone', () => {
    for (const { reference, keypoints } of CAPTIONS) {
      expect(
        keypointsOf(readCaption(reference)).map(({ category, truth }) => [category, tupleOf(truth)]),
        reference,
      ).toEqual(keypoints);
    }
  });

  it('finds the spoken lines', () => {
    for (const { reference, dialogue } of CAPTIONS)
      expect(dialogueOf(reference).map(({ speaker, content }) => [speaker, content])).toEqual(dialogue);
  });

  it('reads damaged captions', () => {
    for (const { caption, read, says_sound } of TRIED) {
      const { facts, beats } = readCaption(caption);
      expect([facts.map(tupleOf), beats.map((beat) => beat.map(tupleOf))], caption).toEqual(read);
      expect(mentionsSound(caption)).toBe(says_sound);
    }
  });

  it('scores damaged captions', () => {
    for (const { caption, reference, score } of TRIED) {
      const ours = scoreCaption(caption, reference);
      expect(pairs(ours.categories), caption).toEqual(spaced(score.categories));
      expect(ours.recall).toBeCloseTo(score.recall, 12);
      expect([ours.falseClaims, ours.toldClaims]).toEqual(score.claims);
      expect(pairs(ours.skills), caption).toMatchObject(score.skills);
      expect(ours.dialogue.caption.length + ours.dialogue.reference.length === 0).toBe(score.dialogue === null);
    }
  });
});

describe('scoreCaption', () => {
  it('gives the reference itself full marks without false claims', () => {
    for (const { reference } of CAPTIONS) {
      const { recall, falseClaims, categories, skills } = scoreCaption(reference, reference);
      expect([recall, falseClaims], reference).toEqual([1, 0]);
      for (const { hits, total } of [...Object.values(categories), ...Object.values(skills)]) expect(hits).toBe(total);
    }
  });

  it('counts a repeated claim as false', () => {
    const reference = 'At first, a high beep is heard.';
    expect(scoreCaption(`${reference} Then, a high beep is heard.`, reference)).toMatchObject({
      recall: 1,
      toldClaims: 2,
      falseClaims: 1,
    });
  });

  it('accepts a spoken line that is similar enough and by the same speaker', () => {
    const score = (caption: string): number => scoreCaption(caption, 'At first, a man says "go left".').recall;
    expect(score('At first, a man says "go".')).toBe(0);
    expect(score('At first, a man says "go lest".')).toBe(1);
    expect(score('At first, a woman says "go left".')).toBe(0);
  });

  it('expects nothing when the reference has no keypoints', () => {
    expect(scoreCaption('A man cooks.', 'A film.')).toMatchObject({
      recall: 1,
      toldClaims: 0,
      falseClaims: 0,
      dialogue: { caption: [], reference: [] },
    });
  });
});
