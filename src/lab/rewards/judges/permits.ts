import { setMaxListeners } from 'node:events';

/** So many at a time; the others wait in their order. */
export class Permits {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(count: number) {
    this.#free = count;
  }

  /** Runs `work` with a permit. @throws the signal's reason when it aborts before there is one */
  async with<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    await this.#take(signal);
    try {
      return await work();
    } finally {
      const [next] = this.#waiting;
      if (next === undefined) this.#free += 1;
      else next(); // it takes over this permit
    }
  }

  async #take(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    setMaxListeners(0, signal); // all questions of a batch wait on its one signal
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting.delete(onPermit);
        reject(signal.reason as Error);
      };
      const onPermit = (): void => {
        this.#waiting.delete(onPermit);
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      this.#waiting.add(onPermit);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }
}
