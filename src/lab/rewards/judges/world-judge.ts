import { readCaption } from '../../synthetic/read-caption.ts';
import { dialogueOf, scoreCaption, type WorldScore } from '../../synthetic/score-caption.ts';
import type { ChecklistScore, Reference } from '../types.ts';
import { Unscored } from '../unscored.ts';
import type { Judge } from './judge.ts';

/** A caption in other words than the world's would be read as one that tells nothing, and be paid for silence. */
function checkReference(caption: string): string {
  const { facts, beats } = readCaption(caption);
  if (facts.length + beats.length > 0) return caption;
  throw new Unscored(
    'no_reference',
    'The reference tells nothing of the generated world. For other captions start the service with --judge URL.',
  );
}

function compared(caption: string, { caption: reference }: Reference): WorldScore {
  if (reference === undefined)
    throw new Unscored('no_reference', 'The world judge compares with reference.caption: give one.');
  return scoreCaption(caption, checkReference(reference));
}

function checklistOf({ categories }: WorldScore): ChecklistScore {
  const shares = Object.values(categories);
  const matched = shares.reduce((sum, { hits }) => sum + hits, 0);
  const total = shares.reduce((sum, share) => sum + share.total, 0);
  return { value: matched / total, matched, total };
}

/** Exact match for captions of avocado-nano's generated world: no model, no waiting. Two speakers are the same when their words are. */
export function worldJudge(): Judge {
  return {
    about: () => ({ kind: 'world', model: null, promptHash: null, droppedFields: [] }),
    checklist: (caption, reference) => Promise.resolve().then(() => checklistOf(compared(caption, reference))),
    dialogues: (text, side) =>
      Promise.resolve().then(() => dialogueOf(side === 'reference' ? checkReference(text) : text)),
    sameSpeakers: (pairs) =>
      Promise.resolve({
        same: pairs.map(({ generated, reference }) => generated === reference),
        mode: 'exact' as const,
      }),
    claims: (caption, reference) => {
      const { toldClaims, falseClaims } = compared(caption, reference);
      return { told: toldClaims, wrong: falseClaims };
    },
  };
}
