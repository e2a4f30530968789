import type { CacheCounts, CaptionerStats } from '../captioner/captioner.ts';
import type { Heartbeat } from './messages.ts';

const NOTHING_RUNS = {
  waiting: 0,
  running: 0,
  freeSlots: 0,
  busy: false,
  kvUsage: 0,
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
  caches: { media: { hits: 0, misses: 0 }, prefix: { hits: 0, misses: 0 } },
};

function sum(a: CacheCounts, b: CacheCounts): CacheCounts {
  return { hits: a.hits + b.hits, misses: a.misses + b.misses };
}

/** Counters of two processes summed; gauges of the second. */
function added(before: CaptionerStats, now: CaptionerStats): CaptionerStats {
  return {
    ...now,
    steps: before.steps + now.steps,
    lastStepAtMs: now.lastStepAtMs ?? before.lastStepAtMs,
    generatedTokens: before.generatedTokens + now.generatedTokens,
    promptTokens: before.promptTokens + now.promptTokens,
    progress: before.progress + now.progress,
    caches: { media: sum(before.caches.media, now.caches.media), prefix: sum(before.caches.prefix, now.caches.prefix) },
  };
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
