import type { CaptionerStats } from '../captioner/captioner.ts';

export interface HangLimits {
  /** most silence of a process whose main loop should beat four times a second */
  readonly heartbeatTimeoutMs: number;
  /** most silence before the first heartbeat: starting a program takes long on a busy machine */
  readonly startTimeoutMs: number;
  /** longest run: work is there, and nothing of it gets done */
  readonly stallMs: number;
}

/**
 * Finds out that a process hangs: it is silent, or busy without progress. Counts time only as it is told of it, and never much
 * at once, so that a server which was itself stopped for a minute does not take that for the other's silence.
 */
export class HangWatch {
  readonly #limits: HangLimits;
  #beating = false;
  #silentMs = 0;
  #stalledMs = 0;
  #progress = -1;
  #busy = false;

  constructor(limits: HangLimits) {
    this.#limits = limits;
  }

  /** a heartbeat; `stats` undefined while it is opening a model */
  heard(stats: Pick<CaptionerStats, 'busy' | 'progress'> | undefined): void {
    this.#beating = true;
    this.#silentMs = 0;
    if (stats === undefined) return;
    if (!stats.busy || stats.progress !== this.#progress) this.#stalledMs = 0;
    this.#busy = stats.busy;
    this.#progress = stats.progress;
  }

  /**
   * @param elapsedMs since the last call
   * @param intervalMs what it should have been
   * @returns what is wrong, as the rest of a sentence about the process; undefined = nothing
   */
  tick(elapsedMs: number, intervalMs: number): string | undefined {
    const countedMs = Math.min(elapsedMs, 2 * intervalMs);
    const { heartbeatTimeoutMs, startTimeoutMs, stallMs } = this.#limits;
    this.#silentMs += countedMs;
    if (this.#busy) this.#stalledMs += countedMs;
    if (this.#silentMs >= (this.#beating ? heartbeatTimeoutMs : startTimeoutMs))
      return `gave no sign of life for ${seconds(this.#silentMs)}`;
    if (this.#stalledMs >= stallMs) return `made no progress for ${seconds(this.#stalledMs)}`;
    return undefined;
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
}
