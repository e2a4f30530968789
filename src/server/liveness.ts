import type { CaptionerStats } from '../captioner.ts';

/**
 * Alive means: work that runs goes forward. Busy is not dead and idle is not dead; work without a step for `stallMs` is.
 * Pure but for what it remembers; look() is called now and then, so that an idle hour does not count against the next request.
 */
export class Liveness {
  readonly #stallMs: number;
  #steps = -1;
  #movedAtMs = 0;

  constructor(stallMs: number) {
    this.#stallMs = stallMs;
  }

  /** @returns milliseconds without progress, 0 when idle */
  look(stats: Pick<CaptionerStats, 'running' | 'steps'>, nowMs: number): number {
    if (stats.running === 0 || stats.steps !== this.#steps) {
      this.#steps = stats.steps;
      this.#movedAtMs = nowMs;
    }
    return nowMs - this.#movedAtMs;
  }

  isStalled(stats: Pick<CaptionerStats, 'running' | 'steps'>, nowMs: number): boolean {
    return this.look(stats, nowMs) > this.#stallMs;
  }
}
