// Where one shot ends and the next begins, from what each frame looks like. Pure.

/** Small pictures stand for frames. */
export const SMALL = { width: 32, height: 18 } as const;
const PIXELS = SMALL.width * SMALL.height;

/** One frame as the scan saw it. */
export interface FrameLook {
  /** seconds of the file */
  readonly time: number;
  /** ffmpeg's scdet: how much more the picture changed than at the frame before, 0 to 100 */
  readonly score: number;
  /** brightness, [SMALL.height, SMALL.width], 0 to 255 */
  readonly small: Uint8Array;
  /** of the same picture, [2, SMALL.height, SMALL.width], 0 to 255 */
  readonly colour: Uint8Array;
}

export interface ShotChange {
  /** of the first frame of the new shot; of a fade, of its middle */
  readonly time: number;
  readonly kind: 'cut' | 'fade';
}

/** scdet's own threshold. */
const CUT_SCORE = 10;
/** Lower scores count where the small picture changes for good, and the frames around hardly do. */
const WEAK_SCORE = 4;
const WEAK_CHANGE = 6;
const WEAK_RATIO = 6;
/** A flash is shorter: the picture before it comes back. */
const FLASH_FRAMES = 6;
const FLASH_RETURN = 0.35;

/** Frames on each side of a dissolve's middle that are compared. */
const DISSOLVE_REACHES = [6, 10, 16, 24, 36];
/** Grey levels between the pictures before and after it. */
const DISSOLVE_CHANGE = 10;
/** It changes most of the picture, an object that fades does not: levels of a pixel that changes, and their share. */
const DISSOLVE_PIXEL_CHANGE = 4;
const DISSOLVE_AREA = 0.4;
/** How far its middle may be from the mean of both, as a share of that. */
const DISSOLVE_RESIDUE = 0.22;
/** Nothing jumps: share of the whole change in one half of it. */
const DISSOLVE_HALF = 0.62;
/** What only moves goes on before and after it: mean change in as many frames on each side, as a share of the whole. */
const DISSOLVE_BESIDE = 0.38;

/** A picture of one colour: black, white, or any other that shots fade to. */
const PLAIN_DEVIATION = 5;

/** Mean difference of two small pictures in levels. */
export function difference(one: Uint8Array | undefined, other: Uint8Array | undefined): number {
  if (one === undefined || other === undefined) return 0;
  let sum = 0;
  for (let at = 0; at < one.length; at++) sum += Math.abs((one[at] ?? 0) - (other[at] ?? 0));
  return sum / one.length;
}

/** Shot changes in order of time. The first frame is none. */
export function shotChanges(frames: readonly FrameLook[]): ShotChange[] {
  const plain = frames.map(({ small }) => isPlain(small));
  const changes: ShotChange[] = [...fadesThroughPlain(frames, plain), ...hardCuts(frames, plain)];
  for (const dissolve of dissolves(frames, plain))
    if (changes.every(({ time }) => Math.abs(time - dissolve.time) > DISSOLVE_APART)) changes.push(dissolve);
  return changes.sort((a, b) => a.time - b.time);
}

/** Two changes so close, in seconds, are one. */
const DISSOLVE_APART = 1;

function isPlain(small: Uint8Array): boolean {
  let sum = 0;
  let squares = 0;
  for (const level of small) {
    sum += level;
    squares += level * level;
  }
  const mean = sum / PIXELS;
  return squares / PIXELS - mean * mean < PLAIN_DEVIATION ** 2;
}

function hardCuts(frames: readonly FrameLook[], plain: readonly boolean[]): ShotChange[] {
  const cuts: ShotChange[] = [];
  let flashUntil = -1;
  for (let at = 1; at < frames.length; at++) {
    const frame = frames[at];
    if (frame === undefined || at <= flashUntil || plain[at] === true || plain[at - 1] === true) continue;
    const isSeen = frame.score >= CUT_SCORE || (frame.score >= WEAK_SCORE && isSudden(frames, at, 'small'));
    if (!isSeen && !isSudden(frames, at, 'colour')) continue;
    const back = returnsAt(frames, at, isSeen ? 'small' : 'colour');
    if (back !== undefined) {
      flashUntil = back;
      continue;
    }
    cuts.push({ time: frame.time, kind: 'cut' });
  }
  return cuts;
}

type Look = 'small' | 'colour';

/** From the frame before. */
function changeAt(frames: readonly FrameLook[], at: number, look: Look): number {
  return difference(frames[at - 1]?.[look], frames[at]?.[look]);
}

function isSudden(frames: readonly FrameLook[], at: number, look: Look): boolean {
  const change = changeAt(frames, at, look);
  const around = [-2, -1, 1, 2].map((step) => changeAt(frames, at + step, look));
  return change >= WEAK_CHANGE && change >= WEAK_RATIO * Math.max(0.3, ...around);
}

/** The frame at which the picture from before a flash is back; undefined: it is no flash. */
function returnsAt(frames: readonly FrameLook[], at: number, look: Look): number | undefined {
  const before = frames[at - 1]?.[look];
  const change = changeAt(frames, at, look);
  for (let step = 1; step <= FLASH_FRAMES && at + step < frames.length; step++)
    if (difference(frames[at + step]?.[look], before) < FLASH_RETURN * change) return at + step;
  return undefined;
}

/** The middle of each run of plain frames between frames that are not; a run that ends or starts the scan is none. */
function fadesThroughPlain(frames: readonly FrameLook[], plain: readonly boolean[]): ShotChange[] {
  const fades: ShotChange[] = [];
  for (let from = 0; from < frames.length; from++) {
    if (plain[from] !== true) continue;
    let to = from;
    while (plain[to + 1] === true) to++;
    const middle = frames[(from + to) >> 1];
    if (from > 0 && to < frames.length - 1 && middle !== undefined) fades.push({ time: middle.time, kind: 'fade' });
    from = to;
  }
  return fades;
}

/** Middles of dissolves: there the picture is the mean of those before and after, which differ much. */
function dissolves(frames: readonly FrameLook[], plain: readonly boolean[]): ShotChange[] {
  const found: { at: number; residue: number }[] = [];
  for (let at = 0; at < frames.length; at++) {
    for (const reach of DISSOLVE_REACHES) {
      const residue = dissolveResidue(frames, plain, at, reach);
      if (residue === undefined) continue;
      const last = found.at(-1);
      if (last === undefined || at - last.at > 2 * reach) found.push({ at, residue });
      else if (residue < last.residue) found[found.length - 1] = { at, residue };
      break;
    }
  }
  return found.flatMap(({ at }) => {
    const time = frames[at]?.time;
    return time === undefined ? [] : [{ time, kind: 'fade' as const }];
  });
}

function dissolveResidue(
  frames: readonly FrameLook[],
  plain: readonly boolean[],
  at: number,
  reach: number,
): number | undefined {
  const [before, now, after] = [frames[at - reach]?.small, frames[at]?.small, frames[at + reach]?.small];
  if (before === undefined || now === undefined || after === undefined) return undefined;
  if (plain[at - reach] === true || plain[at + reach] === true) return undefined;
  const whole = difference(before, after);
  if (whole < DISSOLVE_CHANGE || changedShare(before, after) < DISSOLVE_AREA) return undefined;
  if (Math.max(difference(before, now), difference(now, after)) > DISSOLVE_HALF * whole) return undefined;
  if (changeBeside(frames, at, reach) > DISSOLVE_BESIDE * whole) return undefined;
  let off = 0;
  for (let pixel = 0; pixel < PIXELS; pixel++)
    off += Math.abs((now[pixel] ?? 0) - ((before[pixel] ?? 0) + (after[pixel] ?? 0)) / 2);
  const residue = off / PIXELS / whole;
  return residue < DISSOLVE_RESIDUE ? residue : undefined;
}

/** Share of the picture that differs. */
function changedShare(one: Uint8Array, other: Uint8Array): number {
  return one.filter((level, at) => Math.abs(level - (other[at] ?? 0)) >= DISSOLVE_PIXEL_CHANGE).length / PIXELS;
}

/** Mean change in `reach` frames before and after those of a dissolve. */
function changeBeside(frames: readonly FrameLook[], at: number, reach: number): number {
  const sides = [-1, 1].flatMap((side) => {
    const [near, far] = [frames[at + side * reach], frames[at + 2 * side * reach]];
    return near === undefined || far === undefined ? [] : [difference(near.small, far.small)];
  });
  return sides.reduce((sum, change) => sum + change, 0) / Math.max(1, sides.length);
}
