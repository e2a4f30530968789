type Result<T> = IteratorResult<T, undefined>;

const DONE: Result<never> = { done: true, value: undefined };

/**
 * Values from a writer that never waits to one reader. It grows with what is not read yet, so only bounded streams
 * belong here. Leaving the iteration early calls `onLeave`.
 */
export class EventChannel<T> implements AsyncIterableIterator<T, undefined> {
  readonly #onLeave: () => void;
  readonly #readers: ((result: Result<T>) => void)[] = [];
  #values: T[] = [];
  #read = 0;
  #closed = false;
  #onPush: (() => void) | undefined;

  constructor(onLeave: () => void = () => undefined) {
    this.#onLeave = onLeave;
  }

  /** Ignored after close(). */
  push(value: T): void {
    if (this.#closed) return;
    const reader = this.#readers.shift();
    if (reader === undefined) this.#values.push(value);
    else reader({ done: false, value });
    this.#onPush?.();
  }

  /** Pushes a value in place of the last unread one if that `isStale`: progress that a slow reader need not see. */
  pushLatest(value: T, isStale: (unread: T) => boolean): void {
    const last = this.#values.length - 1;
    if (!this.#closed && last >= this.#read && isStale(this.#values[last] as T)) this.#values[last] = value;
    else this.push(value);
  }

  /** The reader gets what was pushed before, then the end. */
  close(): void {
    this.#closed = true;
    for (const reader of this.#readers.splice(0)) reader(DONE);
    this.#onPush?.();
  }

  next(): Promise<Result<T>> {
    if (this.#read < this.#values.length) {
      const value = this.#values[this.#read++] as T;
      if (this.#read === this.#values.length) [this.#values, this.#read] = [[], 0];
      return Promise.resolve({ done: false, value });
    }
    if (this.#closed) return Promise.resolve(DONE);
    return new Promise((resolve) => this.#readers.push(resolve));
  }

  /**
   * Waits, without reading, for an unread value that `matches`, the end, or `mostMs`.
   * @returns the value that matched
   */
  async peek(matches: (value: T) => boolean, mostMs: number): Promise<T | undefined> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(resolve, mostMs, 'late');
    });
    try {
      for (;;) {
        const found = this.#values.slice(this.#read).find(matches);
        if (found !== undefined || this.#closed) return found;
        const pushed = new Promise<void>((resolve) => {
          this.#onPush = resolve;
        });
        if ((await Promise.race([pushed, late])) === 'late') return undefined;
      }
    } finally {
      clearTimeout(timer);
      this.#onPush = undefined;
    }
  }

  return(): Promise<Result<T>> {
    this.close();
    [this.#values, this.#read] = [[], 0];
    this.#onLeave();
    return Promise.resolve(DONE);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
