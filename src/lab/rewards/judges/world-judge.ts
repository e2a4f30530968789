import { readCaption } from '../../synthetic/read-caption.ts';
import { dialogueOf, scoreCaption, type CaptionScore } from '../../synthetic/score-caption.ts';
import { Unscored, type ChecklistScore, type Reference } from '../types.ts';
import type { Judge } from './judge.ts';

/**
 * Exact match for captions of avocado-nano's synthetic world: no model, no waiting. Two speakers are the same person
 * when their descriptions are the same words.
 */
export function worldJudge(): Judge {
  return {
    describe: () => ({ kind: 'world', model: null, promptHash: null, droppedFields: [] }),
    checklist: (caption, reference) => Promise.resolve().then(() => checklistOf(compare(caption, reference))),
    dialogues: (text, side) =>
      Promise.resolve().then(() => dialogueOf(side === 'reference' ? checkReference(text) : text)),
    sameSpeakers: (pairs) =>
      Promise.resolve({
        same: pairs.map(({ generated, reference }) => generated === reference),
        mode: 'exact' as const,
      }),
    claims: (caption, reference) => {
      const { toldClaims, falseClaims } = compare(caption, reference);
      return { total: toldClaims, wrong: falseClaims };
    },
  };
}

function compare(caption: string, { caption: reference }: Reference): CaptionScore {
  if (reference === undefined)
    throw new Unscored('no_reference', 'The world judge compares with reference.caption: give one.');
  return scoreCaption(caption, checkReference(reference));
}

/** A reference in other words would be read as one without content, and an empty caption would then get full marks. */
function checkReference(caption: string): string {
  const { facts, beats } = readCaption(caption);
  if (facts.length + beats.length > 0) return caption;
  throw new Unscored(
    'no_reference',
    'The reference describes nothing of the synthetic world. For other captions start the service with --judge URL.',
  );
}

function checklistOf({ categories }: CaptionScore): ChecklistScore {
  const counts = Object.values(categories);
  const matched = counts.reduce((sum, { hits }) => sum + hits, 0);
  const total = counts.reduce((sum, count) => sum + count.total, 0);
  return { value: matched / total, matched, total };
}
