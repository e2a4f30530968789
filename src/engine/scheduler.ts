// Which sequence runs next. Pure policy: no tensors, no clock, no decoder.
import { PriorityTurns, type Priority } from '../base/priority-turns.ts';

/** The view of a sequence that a policy gets. */
export interface Schedulable {
  /** in order of submission */
  readonly id: number;
  readonly priority: Priority;
  /** tokens of its next prefill chunk; chunk boundaries do not depend on the load, so neither do the logits */
  readonly nextChunkTokens: number;
}

/** A sequence that holds a slot. */
export interface SlotHolder extends Schedulable {
  readonly heldTokens: number;
  readonly isPreemptible: boolean;
}

/**
 * A scheduling policy. Every running sequence decodes in every step; the policy decides what happens between two steps.
 */
export interface Scheduler {
  /** Which of `waiting` (sorted by id, at least one) gets the free slot. */
  admit<Member extends Schedulable>(waiting: readonly Member[]): Member | undefined;
  /** Which of `holders` gives up its slot to an interactive one of `waiting` when no slot is free; undefined: none. */
  preempt<Member extends SlotHolder>(waiting: readonly Schedulable[], holders: readonly Member[]): Member | undefined;
  /** Which of `prefilling` (any order, at least one) run one chunk each before the next decode step; at least one. */
  prefill<Member extends Schedulable>(prefilling: readonly Member[]): Member[];
  /**
   * For how many seconds decode steps go on, after `prefilled` ran for `seconds`, before the next prompt tokens; 0: for
   * one step.
   */
  decodeSeconds(prefilled: readonly Schedulable[], seconds: number, running: readonly Schedulable[]): number;
}

/** A pause that readers of a caption do not notice. */
const SHORT_PAUSE_SECONDS = 0.1;

/** Of the time of long chunks, for decode steps. */
const DECODE_SHARE = 1 / 8;

/**
 * Interactive first, oldest first within a class, one turn in four for batch; for slots and for prefill alike.
 * Between two decode steps at most about `prefillTokensPerStep` prompt tokens run (chunked prefill), so that a
 * long prompt does not stall the others. Within a class the oldest prompt is finished before the next: a
 * half-read prompt gives no token. A chunk of a large model on a CPU takes as long as a hundred decode steps: after
 * long chunks decode steps go on for an eighth of the time, unless only batch sequences would gain by it. An
 * interactive sequence that finds no free slot gets that of the batch sequence which loses least.
 */
export function priorityScheduler(prefillTokensPerStep: number): Scheduler {
  const slotTurns = new PriorityTurns();
  const prefillTurns = new PriorityTurns();
  return {
    admit: (waiting) => pick(waiting, slotTurns),
    preempt: (waiting, holders) => {
      if (!waiting.some(isInteractive)) return undefined;
      return cheapest(holders.filter(({ priority, isPreemptible }) => priority === 'batch' && isPreemptible));
    },
    prefill: (prefilling) => {
      const first = pick(prefilling, prefillTurns);
      return first === undefined ? [] : [first, ...joiners(first, prefilling, prefillTokensPerStep)];
    },
    decodeSeconds: (prefilled, seconds, running) =>
      prefilled.some(isInteractive) && !running.some(isInteractive)
        ? 0
        : DECODE_SHARE * (seconds - SHORT_PAUSE_SECONDS),
  };
}

export function isInteractive({ priority }: { readonly priority: Priority }): boolean {
  return priority === 'interactive';
}

function pick<Member extends Schedulable>(members: readonly Member[], turns: PriorityTurns): Member | undefined {
  const count = (priority: Priority): number => members.filter((member) => member.priority === priority).length;
  const next = turns.next({ interactive: count('interactive'), batch: count('batch') });
  return next === undefined ? undefined : oldest(members, next);
}

/** Members that run in the same step as `first`, within the token budget: interactive ones first, then by age. */
function joiners<Member extends Schedulable>(first: Member, prefilling: readonly Member[], budget: number): Member[] {
  const rank = ({ priority }: Member): number => (priority === 'interactive' ? 0 : 1);
  const others = prefilling
    .filter((member) => member !== first)
    .sort((left, right) => rank(left) - rank(right) || left.id - right.id);
  let tokens = first.nextChunkTokens;
  const end = others.findIndex(({ nextChunkTokens }) => (tokens += nextChunkTokens) > budget);
  return end < 0 ? others : others.slice(0, end);
}

/** The one with the fewest tokens to read again. */
function cheapest<Member extends SlotHolder>(holders: readonly Member[]): Member | undefined {
  return [...holders].sort((left, right) => left.heldTokens - right.heldTokens)[0];
}

function oldest<Member extends Schedulable>(members: readonly Member[], priority: Priority): Member | undefined {
  let found: Member | undefined;
  for (const member of members)
    if (member.priority === priority && (found === undefined || member.id < found.id)) found = member;
  return found;
}
