/** What a watcher reads of the work it watches. */
export interface Progress {
  /** work is running or due */
  readonly busy: boolean;
  /** grows with every finished piece of work */
  readonly progress: number;
}

/**
 * Measures how long work has been due without progress. It has no clock: time counts only as `advance` reports it,
 * so a watcher that was itself suspended does not mistake that for a stall.
 */
export class ProgressWatch {
  #busy = false;
  #progress = -1;
  #stalledMs = 0;

  /** milliseconds of work without progress; 0 when nothing is due */
  get stalledMs(): number {
    return this.#stalledMs;
  }

  observe({ busy, progress }: Progress): void {
    if (!busy || !this.#busy || progress !== this.#progress) this.#stalledMs = 0;
    this.#busy = busy;
    this.#progress = progress;
  }

  advance(elapsedMs: number): void {
    if (this.#busy) this.#stalledMs += elapsedMs;
  }
}
