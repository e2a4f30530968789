// Who goes next. Pure policy: no tensors, no clock, no decoder; a plan follows from the queues alone.

/** What a policy may know of a sequence. */
export interface Schedulable {
  /** in order of submission */
  readonly id: number;
  /** tokens of its next prefill chunk; the cut does not depend on the load, so neither do the numbers */
  readonly nextChunkTokens: number;
}

export interface Queues<Member extends Schedulable> {
  /** by id */
  readonly waiting: readonly Member[];
  /** hold a slot, prompt not all in it; any order */
  readonly prefilling: readonly Member[];
  /** hold a slot, one token to feed; by slot */
  readonly running: readonly Member[];
  readonly freeSlots: number;
}

/** One step: `admit` get slots, then one chunk of each of `prefill` runs, then one decode of all of `decode`. */
export interface StepPlan<Member extends Schedulable> {
  readonly admit: readonly Member[];
  /** members that are being prefilled or admitted by this plan */
  readonly prefill: readonly Member[];
  readonly decode: readonly Member[];
}

/** A policy. It must plan something whenever a slot is held, or a slot is free and somebody waits. */
export interface Scheduler {
  plan<Member extends Schedulable>(queues: Queues<Member>): StepPlan<Member>;
}

/**
 * First come, first served. Every running sequence decodes in every step; between two decodes at most about
 * `prefillTokensPerStep` prompt tokens run (chunked prefill), so that a long prompt cannot stall the others.
 */
export function fifoScheduler(prefillTokensPerStep: number): Scheduler {
  return {
    plan: (queues) => {
      const admit = queues.waiting.slice(0, queues.freeSlots);
      const candidates = [...queues.prefilling, ...admit].sort((left, right) => left.id - right.id);
      return { admit, prefill: withinBudget(candidates, prefillTokensPerStep), decode: queues.running };
    },
  };
}

/** The first chunk always runs; the following ones join while they fit. Oldest first: a prompt half done is worth nothing yet. */
function withinBudget<Member extends Schedulable>(candidates: readonly Member[], budget: number): Member[] {
  const chosen: Member[] = [];
  let tokens = 0;
  for (const candidate of candidates) {
    tokens += candidate.nextChunkTokens;
    if (chosen.length > 0 && tokens > budget) break;
    chosen.push(candidate);
  }
  return chosen;
}
