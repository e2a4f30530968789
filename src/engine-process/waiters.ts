import type { AvocadoError } from '../base/errors.ts';
import { cancelled } from './remote-requests.ts';

interface Waiter<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: AvocadoError) => void;
}

/** Those who wait for a thing that may be here, be gone again, come back, or never come. */
export class Waiters<T> {
  readonly #waiting = new Set<Waiter<T>>();
  #value: T | undefined;
  #failure: AvocadoError | undefined;

  resolve(value: T): void {
    this.#value = value;
    for (const { resolve } of this.#waiting) resolve(value);
  }

  /** It is gone; from now on people wait. */
  reset(): void {
    this.#value = undefined;
  }

  /** It will never come. */
  reject(error: AvocadoError): void {
    this.#value = undefined;
    this.#failure = error;
    for (const { reject } of this.#waiting) reject(error);
  }

  /** @throws AvocadoError `aborted`, or what `reject` was told */
  async wait(signal?: AbortSignal): Promise<T> {
    if (this.#failure !== undefined) throw this.#failure;
    if (signal?.aborted === true) throw cancelled(signal);
    if (this.#value !== undefined) return this.#value;
    let waiter: Waiter<T> | undefined;
    const leave = (): void => {
      waiter?.reject(cancelled(signal));
    };
    signal?.addEventListener('abort', leave, { once: true });
    try {
      return await new Promise<T>((resolve, reject) => {
        waiter = { resolve, reject };
        this.#waiting.add(waiter);
      });
    } finally {
      if (waiter !== undefined) this.#waiting.delete(waiter);
      signal?.removeEventListener('abort', leave);
    }
  }
}
