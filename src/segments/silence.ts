// Where a sound is silent enough to cut it. Pure.

/** Seconds; `to` is not included. */
export interface Interval {
  readonly from: number;
  readonly to: number;
}

/** Hz: enough to hear speech. */
export const SCAN_RATE = 8000;
/** Loudness is measured in pieces of 20 ms. */
const HOP = SCAN_RATE / 50;
export const HOP_SECONDS = HOP / SCAN_RATE;

/** Decibels below full scale: nobody hears it. */
const INAUDIBLE = -60;
/** Pauses are at least so far below the loud parts, and at most so far above the quietest. */
const BELOW_LOUD = 12;
const ABOVE_QUIET = 8;
const FAR_BELOW_LOUD = 35;
/** Closures inside words are shorter. */
const LEAST_SILENCE_SECONDS = 0.25;
/** Words end softly. */
const MARGIN_SECONDS = 0.04;
/** Speech has a pause earlier. What sounds on for longer is music or noise. */
const LONGEST_SPEECH_SECONDS = 20;

/** Loudness where there is no sound at all, as levelsOf tells it. */
export const NO_SOUND = -120;

/** Loudness of each piece of sound, in decibels of full scale. @param samples mono at SCAN_RATE, -1 to 1 */
export function levelsOf(samples: Float32Array): Float32Array {
  return Float32Array.from({ length: Math.floor(samples.length / HOP) }, (_, piece) => {
    let squares = 0;
    for (let at = piece * HOP; at < (piece + 1) * HOP; at++) squares += (samples[at] ?? 0) ** 2;
    return 10 * Math.log10(squares / HOP + 1e-12);
  });
}

export interface HeardParts {
  readonly silences: readonly Interval[];
  /** sound without a pause that is too long to be speech */
  readonly steady: readonly Interval[];
}

/**
 * Pauses, by a threshold between the loud and the quiet of this stretch: speech over music has pauses too.
 * @param levels as levelsOf
 * @param from seconds of the first piece
 */
export function heardParts(levels: Float32Array, from: number): HeardParts {
  const sorted = Float32Array.from(levels).sort();
  const rank = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))] ?? INAUDIBLE;
  const [loud, quiet] = [rank(0.95), rank(0.1)];
  const threshold = Math.max(
    INAUDIBLE,
    Math.min(loud - BELOW_LOUD, Math.max(quiet + ABOVE_QUIET, loud - FAR_BELOW_LOUD)),
  );
  const silences: Interval[] = [];
  const steady: Interval[] = [];
  let soundFrom = from;
  for (let at = 0; at < levels.length; at++) {
    if ((levels[at] ?? 0) >= threshold) continue;
    let end = at;
    while (end < levels.length && (levels[end] ?? 0) < threshold) end++;
    const [start, stop] = [from + at * HOP_SECONDS, from + end * HOP_SECONDS];
    if (stop - start >= LEAST_SILENCE_SECONDS) {
      silences.push({ from: start + MARGIN_SECONDS, to: stop - MARGIN_SECONDS });
      if (start - soundFrom > LONGEST_SPEECH_SECONDS) steady.push({ from: soundFrom, to: start });
      soundFrom = stop;
    }
    at = end;
  }
  const last = from + levels.length * HOP_SECONDS;
  if (last - soundFrom > LONGEST_SPEECH_SECONDS) steady.push({ from: soundFrom, to: last });
  return { silences, steady };
}

export function isIn(time: number, intervals: readonly Interval[]): boolean {
  return intervals.some(({ from, to }) => time >= from && time < to);
}
