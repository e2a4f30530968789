import { addedSeconds, NEVER_BUSY } from '../base/work-clock.ts';
import type { CacheCounts, CaptionerStats } from '../captioner/captioner.ts';
import type { Heartbeat } from './messages.ts';

const NOTHING_RUNS = {
  waiting: 0,
  running: 0,
  freeSlots: 0,
  busy: false,
  kvUsage: 0,
  kvReserved: 0,
  decoding: { running: 0, waiting: 0, stalledMs: 0 },
};

const ZERO: CaptionerStats = {
  ...NOTHING_RUNS,
  slots: 0,
  steps: 0,
  lastStepAtMs: undefined,
  generatedTokens: 0,
  promptTokens: 0,
  progress: 0,
  preemptions: 0,
  busySeconds: NEVER_BUSY,
  caches: { media: { hits: 0, misses: 0 }, prefix: { hits: 0, misses: 0 } },
};

function sum(a: CacheCounts, b: CacheCounts): CacheCounts {
  return { hits: a.hits + b.hits, misses: a.misses + b.misses };
}

function countersOf(
  a: CaptionerStats,
  b: CaptionerStats,
): Pick<
  CaptionerStats,
  'steps' | 'generatedTokens' | 'promptTokens' | 'progress' | 'preemptions' | 'caches' | 'busySeconds'
> {
  return {
    steps: a.steps + b.steps,
    generatedTokens: a.generatedTokens + b.generatedTokens,
    promptTokens: a.promptTokens + b.promptTokens,
    progress: a.progress + b.progress,
    preemptions: a.preemptions + b.preemptions,
    busySeconds: addedSeconds(a.busySeconds, b.busySeconds),
    caches: { media: sum(a.caches.media, b.caches.media), prefix: sum(a.caches.prefix, b.caches.prefix) },
  };
}

/** Counters of two processes summed; gauges of the second. */
function added(before: CaptionerStats, now: CaptionerStats): CaptionerStats {
  return { ...now, ...countersOf(before, now), lastStepAtMs: now.lastStepAtMs ?? before.lastStepAtMs };
}

/** Recorded where both have it recorded. */
function recordedInBoth(a: CaptionerStats, b: CaptionerStats): CaptionerStats['recordedSteps'] {
  if (a.recordedSteps === undefined || b.recordedSteps === undefined) return a.recordedSteps ?? b.recordedSteps;
  const sizes = Object.keys({ ...a.recordedSteps, ...b.recordedSteps });
  return Object.fromEntries(
    sizes.map((size) => [size, a.recordedSteps?.[size] === true && b.recordedSteps?.[size] === true]),
  );
}

/** Of two engines at the same time. */
function together(a: CaptionerStats, b: CaptionerStats): CaptionerStats {
  const slots = a.slots + b.slots;
  const ofBoth = (one: number, other: number): number => (slots === 0 ? 0 : (one * a.slots + other * b.slots) / slots);
  const stepsAtMs = [a.lastStepAtMs, b.lastStepAtMs].filter((atMs) => atMs !== undefined);
  return {
    ...countersOf(a, b),
    waiting: a.waiting + b.waiting,
    running: a.running + b.running,
    freeSlots: a.freeSlots + b.freeSlots,
    slots,
    recordedSteps: recordedInBoth(a, b),
    lastStepAtMs: stepsAtMs.length === 0 ? undefined : Math.max(...stepsAtMs),
    busy: a.busy || b.busy,
    kvUsage: ofBoth(a.kvUsage, b.kvUsage),
    kvReserved: ofBoth(a.kvReserved, b.kvReserved),
    decoding: {
      running: a.decoding.running + b.decoding.running,
      waiting: a.decoding.waiting + b.decoding.waiting,
      // Where one of them takes files, the server does.
      stalledMs: Math.min(a.decoding.stalledMs, b.decoding.stalledMs),
    },
  };
}

/** @param engines at least one */
export function statsTogether(engines: readonly CaptionerStats[]): CaptionerStats {
  return engines.reduce(together);
}

/** The engine's stats as of its last heartbeat; counters continue over restarts. */
export class StatsAccumulator {
  #before = ZERO;
  #now = ZERO;

  /** Takes a heartbeat; converts the time of the last step to this process' clock. */
  heard({ stats, lastStepAgeMs }: Heartbeat): void {
    if (stats === undefined) return;
    this.#now = { ...stats, lastStepAtMs: lastStepAgeMs === undefined ? undefined : performance.now() - lastStepAgeMs };
  }

  /** The process has gone: nothing runs, no slot is free, its counts stay. */
  died(): void {
    this.#before = { ...added(this.#before, this.#now), ...NOTHING_RUNS };
    this.#now = { ...ZERO, slots: this.#before.slots };
  }

  stats(): CaptionerStats {
    return added(this.#before, this.#now);
  }
}
