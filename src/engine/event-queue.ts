import type { SequenceEvent } from './types.ts';

type Result = IteratorResult<SequenceEvent, undefined>;

const DONE: Result = { done: true, value: undefined };

/**
 * Events of one sequence between the engine, which never waits, and its one reader. It grows at most to the sequence's
 * own length. Leaving the iteration early tells `onLeave`.
 */
export class EventQueue implements AsyncIterableIterator<SequenceEvent, undefined> {
  readonly #onLeave: () => void;
  readonly #readers: ((result: Result) => void)[] = [];
  #events: SequenceEvent[] = [];
  #closed = false;

  constructor(onLeave: () => void) {
    this.#onLeave = onLeave;
  }

  push(event: SequenceEvent): void {
    if (this.#closed) return;
    const reader = this.#readers.shift();
    if (reader === undefined) this.#events.push(event);
    else reader({ done: false, value: event });
  }

  /** Nothing comes after what was pushed. */
  close(): void {
    this.#closed = true;
    for (const reader of this.#readers.splice(0)) reader(DONE);
  }

  next(): Promise<Result> {
    const event = this.#events.shift();
    if (event !== undefined) return Promise.resolve({ done: false, value: event });
    if (this.#closed) return Promise.resolve(DONE);
    return new Promise((resolve) => this.#readers.push(resolve));
  }

  return(): Promise<Result> {
    this.close();
    this.#events = [];
    this.#onLeave();
    return Promise.resolve(DONE);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
