import { setTimeout as sleep } from 'node:timers/promises';
import { AvocadoError } from '../../base/errors.ts';
import type { CaptionEvent } from '../../output/events.ts';
import { givenUp } from './run-caption.ts';

/**
 * The same events, but none of them before it is known that the file can be captioned, or `mostMs` have passed: until then an error
 * can still be an HTTP status, which clients understand better than a line in a stream that began well.
 * @throws AvocadoError of a caption that failed, or was given up, by then
 */
export async function* afterGoodStart(
  events: AsyncGenerator<CaptionEvent>,
  mostMs: number,
  signal: AbortSignal,
): AsyncGenerator<CaptionEvent> {
  const timer = new AbortController();
  const patience = sleep(mostMs, undefined, { signal: timer.signal }).catch(() => undefined);
  const held: CaptionEvent[] = [];
  let coming: Promise<IteratorResult<CaptionEvent, unknown>> | undefined;
  try {
    for (;;) {
      coming = events.next();
      const result = await Promise.race([coming, patience]);
      if (result === undefined) break;
      coming = undefined;
      if (result.done === true) break;
      const event = result.value;
      if (event.type === 'caption-error') throw new AvocadoError(event.code, event.message, event);
      if (event.type === 'caption-aborted') throw givenUp(signal);
      held.push(event);
      if (event.type !== 'stage') break;
    }
    yield* held;
    const late = await coming;
    if (late !== undefined && late.done !== true) yield late.value;
    yield* events;
  } finally {
    timer.abort();
    await events.return(undefined);
  }
}
