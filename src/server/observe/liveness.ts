import type { CaptionerState, CaptionerStats } from '../../captioner/captioner.ts';

type Progress = Pick<CaptionerStats, 'busy' | 'progress'> & { readonly state: CaptionerState };

/**
 * Alive: the engine makes progress, has nothing to do, or is loading or restarting. Not alive: work without progress
 * for `stallMs`, or a stopped engine. look() must be called regularly, so that idle time does not count against the
 * next request.
 */
export class Liveness {
  readonly #stallMs: number;
  #progress = -1;
  #movedAtMs = 0;

  constructor(stallMs: number) {
    this.#stallMs = stallMs;
  }

  /** @returns milliseconds without progress, 0 when nothing is due */
  look({ busy, progress, state }: Progress, nowMs: number): number {
    if (!busy || state !== 'ready' || progress !== this.#progress) {
      this.#progress = progress;
      this.#movedAtMs = nowMs;
    }
    return nowMs - this.#movedAtMs;
  }

  verdict(now: Progress, nowMs: number): 'ok' | 'stalled' | 'stopped' {
    if (now.state === 'stopped') return 'stopped';
    return this.look(now, nowMs) > this.#stallMs ? 'stalled' : 'ok';
  }
}
