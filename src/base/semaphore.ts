import { setMaxListeners } from 'node:events';

/** Limits how many tasks run at once; the others wait in their order. */
export class Semaphore {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(count: number) {
    this.#free = count;
  }

  /** @throws the signal's reason when it aborts before `work` may start */
  async with<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    await this.#acquire(signal);
    try {
      return await work();
    } finally {
      const [next] = this.#waiting;
      if (next === undefined) this.#free += 1;
      else next(); // it takes over this permit
    }
  }

  async #acquire(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    setMaxListeners(0, signal); // many tasks wait on the same signal
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
