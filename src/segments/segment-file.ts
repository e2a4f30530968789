// A file in segments, one after the other: only as much is looked at as the next cut needs.
import { firstAtOrAfter } from '../media/part.ts';
import {
  bestCut,
  cutWindow,
  marksWorthALook,
  worthALook,
  type Cut,
  type CutReason,
  type SegmentRules,
} from './choose-cut.ts';
import type { FileScan } from './scan.ts';
import type { ShotChange } from './shots.ts';

export interface Segment {
  readonly index: number;
  /** seconds of the file; `end` is not included */
  readonly start: number;
  readonly end: number;
  /** why it ends there */
  readonly reason: Cut['reason'] | 'end';
}

/** A segment of pictures has two frames at least. */
const LEAST_FRAMES = 2;

/**
 * Segments of [start, end) without gaps and overlaps, in order.
 * @param firstIndex that of the first one
 * @throws AvocadoError `media_timeout`, `ffmpeg_missing`, `engine_error`, `aborted`
 */
export async function* segmentFile(
  scan: FileScan,
  start: number,
  end: number,
  rules: SegmentRules,
  firstIndex = 0,
): AsyncGenerator<Segment> {
  let from = start;
  for (let index = firstIndex; ; index++) {
    const cut = await nextCut(scan, from, end, rules);
    if (cut === undefined) {
      yield { index, start: from, end, reason: 'end' };
      return;
    }
    yield { index, start: from, end: cut.time, reason: cut.reason };
    from = cut.time;
  }
}

/** A glimpse may see a shot change a few frames late. */
const LATE_SECONDS = 0.35;
const AT_ONCE_SECONDS = 1e-3;

/** The end of the segment that starts at `start`; undefined: it is the last. */
async function nextCut(scan: FileScan, start: number, end: number, rules: SegmentRules): Promise<Cut | undefined> {
  const window = cutWindow(start, end, rules);
  if (window === undefined) return undefined;
  const target = start + rules.target;
  const heard = await scan.sounds(window.from, window.to);
  const keys = scan.keys(window.from, window.to);
  const shots: ShotChange[] = [];
  let cut: Cut | undefined;
  const marks = scan.marks(window.from, window.to);
  const isPaused = heard === undefined || heard.silences.length > 0;
  const wanted: readonly CutReason[] = isPaused ? ['shot in silence'] : ['shot', 'shot in speech'];
  for (const mark of marksWorthALook(marks, target, heard)) {
    const shot = await scan.shotAt(mark);
    if (shot === undefined) continue;
    shots.push(shot);
    cut = bestCut(window, target, shots, heard, keys, wanted);
    if (cut !== undefined) break;
  }
  const glimpses: ShotChange[] = [];
  for (const block of cut === undefined ? worthALook(window, target, heard, marks) : []) {
    glimpses.push(...(await scan.glimpses(block.from, block.to)));
    cut = bestCut(window, target, glimpses, heard, keys, wanted);
    if (cut !== undefined) break;
  }
  cut ??= bestCut(window, target, [...shots, ...glimpses], heard, keys);
  const isLate = glimpses.some(({ time, kind }) => time === cut?.time && kind === 'cut');
  if (cut === undefined || !isLate) return onFrame(scan, start, end, cut);
  const seen = await scan.shots(Math.max(0, cut.time - LATE_SECONDS), cut.time + AT_ONCE_SECONDS);
  const change = seen.filter(({ kind }) => kind === 'cut').at(-1);
  const refined = bestCut(window, target, change === undefined ? [] : [change], heard, keys, [cut.reason]);
  return onFrame(scan, start, end, refined ?? cut);
}

/** Moves a cut to the first frame that is not before it; frames are left on both sides. */
function onFrame(
  { clock: { frameTimes } }: FileScan,
  start: number,
  end: number,
  cut: Cut | undefined,
): Cut | undefined {
  if (cut === undefined || frameTimes.length === 0) return cut;
  const least = firstAtOrAfter(frameTimes, start) + LEAST_FRAMES;
  const most = firstAtOrAfter(frameTimes, end) - LEAST_FRAMES;
  const time = frameTimes[Math.min(Math.max(firstAtOrAfter(frameTimes, cut.time), least), most)];
  return least > most || time === undefined ? undefined : { ...cut, time };
}
