// Which failures are tried again, and when. Pure, but for the dice.
import { AvocadoError, ERRORS, type ErrorCode } from '../base/errors.ts';

/**
 * never: the same bytes give the same error. passing: it may go well in a moment. engine: the engine process died,
 * which any of the items in it may have caused. stop: nothing goes well until a person has done something.
 */
export type FailureClass = 'never' | 'passing' | 'engine' | 'stop';

/** What is wrong with the machine or the model is wrong for every item. */
const STOPS: readonly ErrorCode[] = ['directory_unwritable', 'ffmpeg_missing'];

/** The first cause of an error. */
function innermost(error: Error): unknown {
  let current: unknown = error;
  while (current instanceof Error && current.cause !== undefined) current = current.cause;
  return current;
}

export function failureClass(error: AvocadoError): FailureClass {
  const { code } = error;
  const { exit, retry } = ERRORS[code];
  if (STOPS.includes(code) || exit === 4 || code === 'device_unavailable' || code === 'runtime_unavailable')
    return 'stop';
  if (code === 'engine_unavailable') return 'engine';
  // A server that answered gave its answer; one that could not be reached, or broke off, may do better.
  if (code === 'media_unreachable') return innermost(error) instanceof AvocadoError ? 'never' : 'passing';
  return retry ? 'passing' : 'never';
}

export interface RetryPolicy {
  /** most tries of a passing failure */
  readonly attempts: number;
  readonly firstPauseMs: number;
  readonly longestPauseMs: number;
  /** deaths of the engine with an item alone in it, after which the item is given up */
  readonly deathsAlone: number;
}

export const RETRY_POLICY: RetryPolicy = {
  attempts: 4,
  firstPauseMs: 1000,
  longestPauseMs: 60_000,
  deathsAlone: 2,
};

/** The pause before the next try: twice as long each time, and a random part of it (full jitter). */
export function pauseMs(attempts: number, policy: RetryPolicy, random: () => number = Math.random): number {
  return random() * Math.min(policy.longestPauseMs, policy.firstPauseMs * 2 ** (attempts - 1));
}
