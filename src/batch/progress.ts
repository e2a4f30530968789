// How far a run is: rates, and when it will be done. Pure: the caller brings the clock.
import type { ErrorCode } from '../base/errors.ts';

/** Of a normal distribution: 95 % lie within so many standard deviations. */
const WITHIN_95 = 1.96;

/**
 * Times between the ends of captions, from which the time for the rest is estimated. Their mean gives the middle;
 * the interval covers how much a sum of so many times varies, and how little is known of the mean.
 */
export class RateMeter {
  #count = 0;
  #mean = 0;
  #squares = 0;
  #lastMs: number | undefined;

  /** Call when work begins, so that the first caption counts with the time it took. */
  begin(nowMs: number): void {
    this.#lastMs ??= nowMs;
  }

  /** An item has ended. */
  ended(nowMs: number): void {
    const gap = nowMs - (this.#lastMs ?? nowMs);
    this.#lastMs = nowMs;
    this.#count += 1;
    const off = gap - this.#mean;
    this.#mean += off / this.#count;
    this.#squares += off * (gap - this.#mean);
  }

  /**
   * Seconds until `left` more have ended, with the ends of a 95 % interval; undefined until two have.
   */
  remaining(left: number): { readonly seconds: number; readonly least: number; readonly most: number } | undefined {
    if (this.#count < 2) return undefined;
    const variance = this.#squares / (this.#count - 1);
    const deviation = Math.sqrt(variance * (left + (left * left) / this.#count));
    const middle = left * this.#mean;
    return {
      seconds: middle / 1000,
      least: Math.max(0, middle - WITHIN_95 * deviation) / 1000,
      most: (middle + WITHIN_95 * deviation) / 1000,
    };
  }
}

/** `45 s`, `12 min`, `3.2 h`, `4.1 days` */
export function durationText(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  return seconds < 48 * 3600 ? `${(seconds / 3600).toFixed(1)} h` : `${(seconds / 86_400).toFixed(1)} days`;
}

export type FailureCounts = ReadonlyMap<ErrorCode, number>;

/** `media_undecodable 9, media_too_short 3`, the most frequent first */
export function failuresText(counts: FailureCounts): string {
  return [...counts]
    .sort(([, left], [, right]) => right - left)
    .map(([code, count]) => `${code} ${count}`)
    .join(', ');
}

export interface ProgressFacts {
  readonly ended: number;
  readonly total: number;
  readonly mediaSeconds: number;
  readonly wallSeconds: number;
  readonly remaining: ReturnType<RateMeter['remaining']>;
  readonly failures: FailureCounts;
}

/** One line. */
export function progressText({ ended, total, mediaSeconds, wallSeconds, remaining, failures }: ProgressFacts): string {
  const rate = wallSeconds > 0 ? mediaSeconds / wallSeconds : 0;
  const failed = [...failures.values()].reduce((sum, count) => sum + count, 0);
  return [
    `${ended} of ${total}`,
    ...(mediaSeconds > 0 ? [`${durationText(mediaSeconds)} of media, ${rate.toFixed(1)} h/h`] : []),
    ...(remaining === undefined || ended >= total
      ? []
      : [
          `${durationText(remaining.seconds)} left (${durationText(remaining.least)} to ${durationText(remaining.most)})`,
        ]),
    ...(failed === 0 ? [] : [`${failed} failed: ${failuresText(failures)}`]),
  ].join(' · ');
}
