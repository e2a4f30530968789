import { abortError } from '../base/abort.ts';
import type { CaptionEvent } from '../output/events.ts';

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
      giveUp(abortError(signal));
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
