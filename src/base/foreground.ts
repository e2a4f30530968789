// Batch work stands back while a client waits for the first token of its caption.

/**
 * After so long without a pause, batch work goes on for a third of that: clients who wait without end do not starve it.
 * Those who come one after the other leave it the time between first token and next request, and that third where the
 * pauses are shorter.
 */
const LONGEST_HOLD_MS = 3000;
const BETWEEN_HOLDS_MS = LONGEST_HOLD_MS / 3;

/** What batch work follows: while it is held, the work stops. */
export interface Hold {
  readonly isHeld: boolean;
  /** @param listener called each time the work must stop, and each time it may go on @returns removes it */
  onChange(listener: (isHeld: boolean) => void): () => void;
}

/** What waits in front, and what may not go on meanwhile. */
export class Foreground implements Hold {
  readonly #onFree = new Set<() => void>();
  readonly #listeners = new Set<(isHeld: boolean) => void>();
  #waiting = 0;
  #isHeld = false;
  #timer: NodeJS.Timeout | undefined;
  /** how much of the longest hold is used up; a pause gives back three times its length */
  #usedMs = 0;
  #changedAtMs = performance.now();

  /** Whether batch work is to stand back now. */
  get isHeld(): boolean {
    return this.#isHeld;
  }

  /** A client begins to wait. @returns says that it waits no more; any number of times */
  enter(): () => void {
    this.#waiting += 1;
    if (this.#waiting === 1) this.#hold();
    let isIn = true;
    return () => {
      if (!isIn) return;
      isIn = false;
      this.#waiting -= 1;
      if (this.#waiting === 0) this.#free();
    };
  }

  onChange(listener: (isHeld: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Resolves when batch work may go on, or the signal aborts. */
  async free(signal?: AbortSignal): Promise<void> {
    while (this.#isHeld && signal?.aborted !== true) {
      let go: () => void = () => undefined;
      await new Promise<void>((resolve) => {
        go = resolve;
        this.#onFree.add(go);
        signal?.addEventListener('abort', go, { once: true });
      });
      this.#onFree.delete(go);
      signal?.removeEventListener('abort', go);
    }
  }

  #hold(): void {
    clearTimeout(this.#timer);
    this.#count();
    this.#isHeld = true;
    for (const listener of this.#listeners) listener(true);
    this.#timer = setTimeout(() => {
      this.#free();
      this.#timer = setTimeout(() => {
        if (this.#waiting > 0) this.#hold();
      }, BETWEEN_HOLDS_MS).unref();
    }, LONGEST_HOLD_MS - this.#usedMs).unref();
  }

  #free(): void {
    clearTimeout(this.#timer);
    this.#count();
    this.#isHeld = false;
    for (const listener of this.#listeners) listener(false);
    for (const go of [...this.#onFree]) go();
  }

  /** The time since it was held or let go. */
  #count(): void {
    const nowMs = performance.now();
    const elapsedMs = nowMs - this.#changedAtMs;
    this.#changedAtMs = nowMs;
    const givenBackMs = elapsedMs * (LONGEST_HOLD_MS / BETWEEN_HOLDS_MS);
    const usedMs = this.#usedMs + (this.#isHeld ? elapsedMs : -givenBackMs);
    this.#usedMs = Math.min(Math.max(0, usedMs), LONGEST_HOLD_MS);
  }
}
