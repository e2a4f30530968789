import { asAvocadoError } from '../base/errors.ts';
import type { CaptionEvent } from './events.ts';

export type CaptionEnding = Extract<CaptionEvent, { type: 'caption-end' | 'caption-error' | 'caption-aborted' }>;

export function isEnding(event: CaptionEvent): event is CaptionEnding {
  return event.type === 'caption-end' || event.type === 'caption-error' || event.type === 'caption-aborted';
}

/** The ending of a request that threw: `caption-aborted` when its signal has aborted, otherwise `caption-error`. */
export function endingOf(thrown: unknown, signal: AbortSignal): CaptionEnding {
  const error = asAvocadoError(thrown);
  if (signal.aborted || error.code === 'aborted') return { type: 'caption-aborted' };
  const { code, message, param, retryAfterSeconds } = error;
  return { type: 'caption-error', code, message, param, retryAfterSeconds };
}
