// Places for work of unknown length. Pure but for the timer.
import { setMaxListeners } from 'node:events';
import { abortError } from './abort.ts';

export interface PlacesLimits {
  /** pieces of work at a time */
  readonly places: number;
  /** pieces of work that may go on beside them, because they have taken long; without it none */
  readonly overtimePlaces?: number;
  /** after this, work gives its place to the next one and goes on in overtime, if there is room */
  readonly overtimeMs?: number;
}

export interface PlacesStats {
  readonly running: number;
  readonly waiting: number;
  /** milliseconds since a place became free or work ended, while others wait; 0 when none waits */
  readonly stalledMs: number;
}

interface Waiting {
  readonly start: () => void;
}

/** First come, first served; but work that takes long does not hold up what comes after it. */
export class Places {
  readonly #limits: Required<PlacesLimits>;
  readonly #waiting = new Set<Waiting>();
  /** work that takes a place */
  #inPlace = 0;
  #overtime = 0;
  /** work that has taken long, but found no room in overtime */
  readonly #late = new Set<() => void>();
  #movedMs = performance.now();

  constructor(limits: PlacesLimits) {
    this.#limits = { overtimePlaces: 0, overtimeMs: 0, ...limits };
  }

  stats(): PlacesStats {
    const waiting = this.#waiting.size;
    const stalledMs = waiting === 0 ? 0 : performance.now() - this.#movedMs;
    return { running: this.#inPlace + this.#overtime, waiting, stalledMs };
  }

  /**
   * Runs the work when a place is free.
   * @throws AvocadoError of the signal when it aborts before that; what the work throws
   */
  async run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    await this.#enter(signal);
    const held = { inOvertime: false };
    const goOn = (): void => {
      held.inOvertime = true;
      this.#inPlace -= 1;
      this.#overtime += 1;
      this.#startNext();
    };
    const { overtimePlaces, overtimeMs } = this.#limits;
    const onLate = (): void => {
      if (this.#overtime < overtimePlaces) goOn();
      else this.#late.add(goOn);
    };
    const timer = overtimePlaces === 0 ? undefined : setTimeout(onLate, overtimeMs).unref();
    try {
      return await work();
    } finally {
      clearTimeout(timer);
      this.#late.delete(goOn);
      if (held.inOvertime) this.#leaveOvertime();
      else this.#inPlace -= 1;
      this.#startNext();
    }
  }

  async #enter(signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted === true) throw abortError(signal);
    if (this.#inPlace < this.#limits.places) {
      this.#inPlace += 1;
      return;
    }
    if (signal !== undefined) setMaxListeners(0, signal); // much work may wait on the same signal
    if (this.#waiting.size === 0) this.#movedMs = performance.now();
    let onAbort: () => void = () => undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        const waiting: Waiting = { start: resolve };
        onAbort = () => {
          this.#waiting.delete(waiting);
          reject(abortError(signal));
        };
        this.#waiting.add(waiting);
        signal?.addEventListener('abort', onAbort, { once: true });
      });
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  #leaveOvertime(): void {
    this.#overtime -= 1;
    const [goOn] = this.#late;
    if (goOn === undefined) return;
    this.#late.delete(goOn);
    goOn();
  }

  #startNext(): void {
    this.#movedMs = performance.now();
    for (const waiting of this.#waiting) {
      if (this.#inPlace >= this.#limits.places) return;
      this.#waiting.delete(waiting);
      this.#inPlace += 1;
      waiting.start();
    }
  }
}
