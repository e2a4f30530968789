import type { CaptionerState, CaptionerStats } from '../../captioner/captioner.ts';

type Progress = Pick<CaptionerStats, 'busy' | 'progress'> & { readonly state: CaptionerState };

/**
 * Alive means: work that is due goes forward. Busy is not dead, idle is not dead, and an engine that loads or comes back is
 * being looked after; work without progress for `stallMs` is dead, and so is an engine that will not come back. Pure but for
 * what it remembers; look() is called now and then, so that an idle hour does not count against the next request.
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
