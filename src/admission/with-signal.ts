import type { CaptionEvent } from '../output/events.ts';

/** What the signal was aborted with, as an Error. */
export function reasonOf(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new DOMException('The request was cancelled.', 'AbortError');
}

/** The promise, or the signal's reason as soon as it aborts, whatever the promise's own maker does about it. */
export async function withSignal<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  let onAbort: () => void = () => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => {
      reject(reasonOf(signal));
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([aborted, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    promise.catch(() => undefined); // it lost, and nobody else looks
  }
}

/**
 * The same events; but a source that has not ended `graceMs` after the abort is left alone, and the signal's reason thrown: an
 * engine that hangs must not hold on to those who wait for it.
 */
export async function* endingWithSignal(
  events: AsyncIterable<CaptionEvent>,
  signal: AbortSignal,
  graceMs: number,
): AsyncGenerator<CaptionEvent> {
  const iterator = events[Symbol.asyncIterator]();
  let timer: NodeJS.Timeout | undefined;
  let giveUp: (error: Error) => void = () => undefined;
  const onAbort = (): void => {
    timer = setTimeout(() => {
      giveUp(reasonOf(signal));
    }, graceMs);
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });
  let waiting = false;
  try {
    for (;;) {
      waiting = true;
      const result = await new Promise<IteratorResult<CaptionEvent, unknown>>((resolve, reject) => {
        giveUp = reject;
        iterator.next().then(resolve, reject);
      });
      waiting = false;
      if (result.done === true) return;
      yield result.value;
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    const left = iterator.return?.();
    if (waiting)
      left?.catch(() => undefined); // given up: it may never answer
    else await left;
  }
}
