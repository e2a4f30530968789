// A file in segments, one after the other: only as much is looked at as the next cut needs.
import { firstAtOrAfter } from '../media/part.ts';
import { bestCut, cutWindow, worthALook, type Cut, type SegmentRules } from './choose-cut.ts';
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
 * @throws AvocadoError `media_timeout`, `ffmpeg_missing`, `aborted`
 */
export async function* segmentFile(
  scan: FileScan,
  start: number,
  end: number,
  rules: SegmentRules,
): AsyncGenerator<Segment> {
  let from = start;
  for (let index = 0; ; index++) {
    const cut = await nextCut(scan, from, end, rules);
    if (cut === undefined) {
      yield { index, start: from, end, reason: 'end' };
      return;
    }
    yield { index, start: from, end: cut.time, reason: cut.reason };
    from = cut.time;
  }
}

/** The end of the segment that starts at `start`; undefined: it is the last. */
async function nextCut(scan: FileScan, start: number, end: number, rules: SegmentRules): Promise<Cut | undefined> {
  const window = cutWindow(start, end, rules);
  if (window === undefined) return undefined;
  const target = start + rules.target;
  const heard = await scan.sounds(window.from, window.to);
  const shots: ShotChange[] = [];
  let cut: Cut | undefined;
  for (const block of worthALook(window, target, heard)) {
    shots.push(...(await scan.shots(block.from, block.to)));
    cut = bestCut(window, target, shots, heard, ['shot in silence']);
    if (cut !== undefined) break;
  }
  return onFrame(scan, start, end, cut ?? bestCut(window, target, shots, heard));
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
