// Tells a task in another thread to stop. A flag in shared memory, because Piscina's own signal kills the thread of a
// running task, and with it the only one who can end its ffmpeg in order.

/** One Int32: who got there first, the task or its cancellation. */
export type CancelFlag = Int32Array<SharedArrayBuffer>;

const WAITING = 0;
const RUNNING = 1;
const CANCELLED = 2;

/** Well below the half second in which a cancelled decoder must be gone. */
const POLL_MS = 50;

export function createCancelFlag(): CancelFlag {
  return new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
}

/** Raises the flag; true when a task already runs under it and will answer soon. */
export function raise(flag: CancelFlag): boolean {
  return Atomics.exchange(flag, 0, CANCELLED) === RUNNING;
}

/** In the task's thread: marks the task as running and turns the flag into a signal until `stop` is called. */
export function watch(flag: CancelFlag): { signal: AbortSignal; stop: () => void } {
  const controller = new AbortController();
  const look = (): void => {
    if (Atomics.load(flag, 0) === CANCELLED) controller.abort();
  };
  Atomics.compareExchange(flag, 0, WAITING, RUNNING);
  look();
  const timer = setInterval(look, POLL_MS);
  return {
    signal: controller.signal,
    stop: () => {
      clearInterval(timer);
    },
  };
}
