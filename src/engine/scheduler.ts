// Who goes next. Pure policy: no tensors, no clock, no decoder; what it chooses follows from what it was shown and chose before.
import type { Priority } from './types.ts';

/** What a policy may know of a sequence. */
export interface Schedulable {
  /** in order of submission */
  readonly id: number;
  readonly priority: Priority;
  /** tokens of its next prefill chunk; the cut does not depend on the load, so neither do the numbers */
  readonly nextChunkTokens: number;
}

/** A policy. Every running sequence decodes in every step; it has a say in what happens between two of them. */
export interface Scheduler {
  /** Who of `waiting` (by id, at least one) gets the slot that is free. */
  admit<Member extends Schedulable>(waiting: readonly Member[]): Member | undefined;
  /** Of whom one prefill chunk each runs before the next decode step; at least one of `prefilling` (any order, at least one). */
  prefill<Member extends Schedulable>(prefilling: readonly Member[]): Member[];
}

/** While both classes wait, every fourth pick is a batch sequence's. */
const INTERACTIVE_PICKS_IN_A_ROW = 3;

/** Interactive first, oldest first within a class; neither class starves the other. */
class PriorityTurns {
  #interactiveInARow = 0;

  /** @param members at least one */
  pick<Member extends Schedulable>(members: readonly Member[]): Member | undefined {
    const interactive = oldest(members, 'interactive');
    const batch = oldest(members, 'batch');
    if (interactive === undefined || batch === undefined) return interactive ?? batch;
    const isBatchTurn = this.#interactiveInARow >= INTERACTIVE_PICKS_IN_A_ROW;
    this.#interactiveInARow = isBatchTurn ? 0 : this.#interactiveInARow + 1;
    return isBatchTurn ? batch : interactive;
  }
}

/**
 * Two classes by turns, for slots and for prefill alike. Between two decode steps at most about `prefillTokensPerStep` prompt
 * tokens run (chunked prefill), so that a long prompt cannot stall the others. Within a class the oldest prompt is read to its end
 * before the next: a prompt half done is worth nothing yet.
 */
export function priorityScheduler(prefillTokensPerStep: number): Scheduler {
  const slotTurns = new PriorityTurns();
  const prefillTurns = new PriorityTurns();
  return {
    admit: (waiting) => slotTurns.pick(waiting),
    prefill: (prefilling) => {
      const first = prefillTurns.pick(prefilling);
      return first === undefined ? [] : [first, ...joiners(first, prefilling, prefillTokensPerStep)];
    },
  };
}

/** Who runs in the same step as `first` while they fit the budget together: interactive ones first, then by age. */
function joiners<Member extends Schedulable>(first: Member, prefilling: readonly Member[], budget: number): Member[] {
  const rank = ({ priority }: Member): number => (priority === 'interactive' ? 0 : 1);
  const others = prefilling
    .filter((member) => member !== first)
    .sort((left, right) => rank(left) - rank(right) || left.id - right.id);
  let tokens = first.nextChunkTokens;
  const end = others.findIndex(({ nextChunkTokens }) => (tokens += nextChunkTokens) > budget);
  return end < 0 ? others : others.slice(0, end);
}

function oldest<Member extends Schedulable>(members: readonly Member[], priority: Priority): Member | undefined {
  let found: Member | undefined;
  for (const member of members)
    if (member.priority === priority && (found === undefined || member.id < found.id)) found = member;
  return found;
}
