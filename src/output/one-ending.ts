import { asAvocadoError } from '../base/errors.ts';
import type { CaptionEvent } from './events.ts';

export type CaptionEnding = Extract<CaptionEvent, { type: 'caption-end' | 'caption-error' | 'caption-aborted' }>;

export function isEnding(event: CaptionEvent): event is CaptionEnding {
  return event.type === 'caption-end' || event.type === 'caption-error' || event.type === 'caption-aborted';
}

/** The ending of a request that threw; the signal that asked for it makes it `caption-aborted`. */
export function endingOf(thrown: unknown, signal: AbortSignal): CaptionEnding {
  const error = asAvocadoError(thrown);
  if (signal.aborted || error.code === 'aborted') return { type: 'caption-aborted' };
  return {
    type: 'caption-error',
    code: error.code,
    message: error.message,
    ...(error.param === undefined ? {} : { param: error.param }),
    ...(error.retryAfterSeconds === undefined ? {} : { retryAfterSeconds: error.retryAfterSeconds }),
  };
}

/**
 * The same events with the promise kept whatever the source does: exactly one ending, last. A source that throws ends in
 * caption-error (caption-aborted when the signal asked for it); one that just stops is a bug and is told as such.
 */
export async function* oneEnding(
  events: AsyncIterable<CaptionEvent>,
  signal: AbortSignal,
): AsyncGenerator<CaptionEvent> {
  try {
    for await (const event of events) {
      yield event;
      if (isEnding(event)) return;
    }
  } catch (thrown) {
    yield endingOf(thrown, signal);
    return;
  }
  yield endingOf(new Error('The caption stopped without an ending.'), signal);
}
