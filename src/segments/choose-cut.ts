// Where a segment ends: the order of preference, and which stretches of pictures are worth a look. Pure.
import type { HeardParts, Interval } from './silence.ts';
import { isIn } from './silence.ts';
import type { Marks } from './marks.ts';
import type { ShotChange } from './shots.ts';

/** Lengths of segments in seconds. */
export interface SegmentRules {
  readonly least: number;
  readonly target: number;
  readonly most: number;
}

/** AVoCaDO is trained on clips of at most 100 s; captions are best below two minutes. */
const DEFAULT_RULES: SegmentRules = { least: 15, target: 45, most: 90 };

/** @param target seconds; undefined: the default */
export function segmentRules(target: number | undefined): SegmentRules {
  return target === undefined ? DEFAULT_RULES : { least: target / 3, target, most: target * 2 };
}

/** A rest so long, in targets, is one segment and no two: it is no longer than segments may be. */
const UNDIVIDED = 1.5;

/** Where the segment that starts at `start` may end; undefined: it is the last one. */
export function cutWindow(start: number, end: number, { least, target, most }: SegmentRules): Interval | undefined {
  if (end - start <= UNDIVIDED * target) return undefined;
  return { from: start + least, to: Math.min(start + most, end - least) };
}

/** Seconds of pictures that are looked at in one go. */
const BLOCK_SECONDS = 8;
/** How many goes: looking at all pictures would cost as much as captioning them. */
const MOST_BLOCKS = 3;
/** Marks that are looked at. */
const MOST_MARKS = 3;

/** The window in blocks, the nearest to the target first. */
function blocksOf({ from, to }: Interval, target: number): Interval[] {
  const blocks: Interval[] = [];
  const first = target - BLOCK_SECONDS / 2;
  for (let step = Math.ceil((from - first) / BLOCK_SECONDS) - 1; first + step * BLOCK_SECONDS < to; step++) {
    const block = {
      from: Math.max(from, first + step * BLOCK_SECONDS),
      to: Math.min(to, first + (step + 1) * BLOCK_SECONDS),
    };
    if (block.to - block.from > 0.1) blocks.push(block);
  }
  const distance = (block: Interval): number => Math.abs((block.from + block.to) / 2 - target);
  return blocks.sort((a, b) => distance(a) - distance(b));
}

/**
 * Marks that are worth a look, in order: those in silence, the nearest to the target first; where nothing is silent,
 * those in sound that is no speech, then the others.
 */
export function marksWorthALook({ times }: Marks, target: number, heard: HeardParts | undefined): readonly number[] {
  const nearest = times.toSorted((one, other) => Math.abs(one - target) - Math.abs(other - target));
  if (heard === undefined) return nearest.slice(0, MOST_MARKS);
  const { silences, steady } = heard;
  if (silences.length > 0) return nearest.filter((time) => isIn(time, silences)).slice(0, MOST_MARKS);
  const isSteady = (time: number): number => Number(isIn(time, steady));
  return nearest.sort((one, other) => isSteady(other) - isSteady(one)).slice(0, MOST_MARKS);
}

/**
 * Stretches whose pictures are worth a look for shot changes, in order. Those in which nothing may be cut are left out,
 * unless there is no other.
 */
export function worthALook(window: Interval, target: number, heard: HeardParts | undefined, { by }: Marks): Interval[] {
  const blocks = blocksOf(window, target);
  const overlaps = (block: Interval, parts: readonly Interval[]): boolean =>
    parts.some(({ from, to }) => from < block.to && to > block.from);
  const legal =
    heard === undefined ? blocks : blocks.filter((block) => overlaps(block, [...heard.silences, ...heard.steady]));
  // What key frames do not tell is a fade; a pause is as good a place.
  const isPaused = by === 'keys' && heard !== undefined && heard.silences.length > 0;
  const most = isPaused ? 0 : by === 'nothing' ? MOST_BLOCKS : 1;
  return (legal.length > 0 ? legal : blocks).slice(0, most);
}

export type CutReason = 'shot in silence' | 'shot' | 'silence' | 'shot in speech' | 'length';

export interface Cut {
  readonly time: number;
  readonly reason: CutReason;
}

/**
 * The best cut in the window: a shot change in silence, a shot change in sound that is no speech, a silence, a shot
 * change in speech, the target. Of equals the nearest to the target.
 * @param heard undefined: the file has no sound
 * @param keys of the window; in a silence a key frame is preferred, because the decoder of the next segment can begin
 *   with it
 * @param reasons best first; a cut for a later one is not taken
 */
export function bestCut(
  window: Interval,
  target: number,
  shots: readonly ShotChange[],
  heard: HeardParts | undefined,
  keys: readonly number[],
  reasons: readonly CutReason[] = ['shot in silence', 'shot', 'silence', 'shot in speech', 'length'],
): Cut | undefined {
  const inside = shots.map(({ time }) => time).filter((time) => time >= window.from && time <= window.to);
  const silent = (time: number): boolean => heard === undefined || isIn(time, heard.silences);
  const steady = (time: number): boolean => heard !== undefined && isIn(time, heard.steady);
  const times: Readonly<Record<CutReason, readonly number[]>> = {
    'shot in silence': inside.filter(silent),
    shot: inside.filter((time) => !silent(time) && steady(time)),
    silence: (heard?.silences ?? []).flatMap((silence) => placeIn(silence, window, target, keys)),
    'shot in speech': inside.filter((time) => !silent(time) && !steady(time)),
    length: [Math.min(Math.max(target, window.from), window.to)],
  };
  for (const reason of reasons) {
    const time = nearest(times[reason], target);
    if (time !== undefined) return { time, reason };
  }
  return undefined;
}

/** The key frame in a silence that is nearest to the target, or its middle; in a long one the place nearest to it. */
function placeIn({ from, to }: Interval, window: Interval, target: number, keys: readonly number[]): number[] {
  const [start, end] = [Math.max(from, window.from), Math.min(to, window.to)];
  if (start >= end) return [];
  const inside = keys.filter((time) => time >= start && time < end);
  const key = nearest(inside, target);
  if (key !== undefined) return [key];
  const edge = Math.min(0.5, (end - start) / 2);
  return [Math.min(Math.max(target, start + edge), end - edge)];
}

function nearest(times: readonly number[], target: number): number | undefined {
  let best: number | undefined;
  for (const time of times) if (best === undefined || Math.abs(time - target) < Math.abs(best - target)) best = time;
  return best;
}
