import { AvocadoError } from './errors.ts';

/**
 * The error of work that an abort signal stopped: the signal's reason if it is one of ours (a deadline, a client that
 * left), otherwise `aborted` with the reason as its cause.
 */
export function abortError(signal: AbortSignal | undefined): AvocadoError {
  const reason: unknown = signal?.reason;
  return reason instanceof AvocadoError
    ? reason
    : new AvocadoError('aborted', 'The request was cancelled.', { cause: reason });
}

/**
 * Waits for the promise, but only until the signal aborts. The work behind the promise goes on.
 * @throws AvocadoError of {@link abortError} once the signal aborts; the promise's own errors pass
 */
export async function withSignal<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  let onAbort: () => void = () => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => {
      reject(abortError(signal));
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([aborted, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    promise.catch(() => undefined); // a late rejection would otherwise count as unhandled
  }
}

/** Runs work under a signal that aborts so many milliseconds after the given one: it may end what it has begun. */
export async function withGrace<T>(
  signal: AbortSignal,
  graceMs: number,
  work: (later: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const later = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const onAbort = (): void => {
    timer = setTimeout(() => {
      later.abort(signal.reason);
    }, graceMs);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await work(later.signal);
  } finally {
    signal.removeEventListener('abort', onAbort);
    clearTimeout(timer);
  }
}
