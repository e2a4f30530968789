import { dialogueOf, scoreCaption } from '../../world/score-caption.ts';
import type { ChecklistScore, Reference } from '../types.ts';
import { Unscored } from '../unscored.ts';
import type { Judge } from './judge.ts';

function captionOf({ caption }: Reference): string {
  if (caption !== undefined) return caption;
  throw new Unscored('no_reference', 'The world judge compares with reference.caption: give one.');
}

function checklistOf(caption: string, reference: Reference): ChecklistScore {
  const { categories } = scoreCaption(caption, captionOf(reference));
  const shares = Object.values(categories);
  const sum = (of: (share: (typeof shares)[number]) => number): number => shares.reduce((total, share) => total + of(share), 0);
  const [matched, total] = [sum(({ hits }) => hits), sum((share) => share.total)];
  if (total === 0) throw new Unscored('no_reference', 'The reference tells nothing of the generated world. For other captions start the service with --judge URL.');
  return { value: matched / total, matched, total };
}

/** Exact match for captions of avocado-nano's generated world: no model, no waiting. Two speakers are the same when their words are. */
export function worldJudge(): Judge {
  return {
    about: () => ({ kind: 'world', model: null, promptHash: null, droppedFields: [] }),
    checklist: (caption, reference) => Promise.resolve().then(() => checklistOf(caption, reference)),
    dialogues: (text) => Promise.resolve(dialogueOf(text)),
    sameSpeakers: (pairs) => Promise.resolve({ same: pairs.map(({ generated, reference }) => generated === reference), mode: 'exact' as const }),
    claims: (caption, reference) => {
      const { toldClaims, falseClaims } = scoreCaption(caption, captionOf(reference));
      return { told: toldClaims, wrong: falseClaims };
    },
  };
}
