// Where an encoder may have seen a shot change, from the times and sizes of its packets: nothing is decoded. Pure.
import { firstAtOrAfter } from '../media/part.ts';

/** The packets of a video in display order. */
export interface PacketTrace {
  /** seconds, ascending */
  readonly times: Float64Array;
  /** one for each of them */
  readonly bytes: Uint32Array;
  /** those of the key frames */
  readonly keyTimes: Float64Array;
}

export interface Marks {
  /** times of frames with which a shot may begin, or a few frames before them; ascending */
  readonly times: readonly number[];
  /**
   * keys: the encoder sets key frames where shots begin. sizes: it does not, and the frames are large. nothing: the
   * codec stores every frame for itself, or the pictures are so small that all are looked at.
   */
  readonly by: 'keys' | 'sizes' | 'nothing';
}

const SAME_DISTANCE_SECONDS = 0.1;
/** Of an encoder that sets key frames at equal distances only, a few are early nevertheless: at joints. */
const FEW = 0.1;

/** Key frames that are closer to the one before than most are, where there are more than a few of them. */
function earlyKeys(keyTimes: Float64Array): number[] {
  const distances = [...keyTimes].map((time, index) => time - (keyTimes[index - 1] ?? -Infinity));
  const sorted = distances.slice(1).sort((one, other) => one - other);
  const usual = sorted[Math.floor(0.95 * sorted.length)] ?? 0;
  const early = [...keyTimes].filter((_, index) => (distances[index] ?? 0) < usual - SAME_DISTANCE_SECONDS);
  return early.length > FEW * keyTimes.length ? early : [];
}

/** Frames on each side that a large one is compared with. */
const BESIDE = 6;
/** How much larger it is than the largest of them, and how large beside a key frame. */
const LARGER = 2;
const SHARE_OF_KEY = 0.3;

/** Frames that are as large as key frames without being one: little of them could be taken from the frame before. */
function largeFrames({ times, bytes, keyTimes }: PacketTrace): number[] {
  const isKey = new Uint8Array(times.length);
  for (const time of keyTimes) isKey[firstAtOrAfter(times, time)] = 1;
  const ofKeys = bytes.filter((_, frame) => isKey[frame] === 1).sort();
  const least = SHARE_OF_KEY * (ofKeys[ofKeys.length >> 1] ?? Infinity);
  const large: number[] = [];
  for (const [frame, size] of bytes.entries()) {
    if (size < least || isKey[frame] === 1) continue;
    let most = 0;
    for (let beside = Math.max(0, frame - BESIDE); beside <= frame + BESIDE; beside++)
      if (beside !== frame && isKey[beside] !== 1) most = Math.max(most, bytes[beside] ?? 0);
    if (size >= LARGER * most) large.push(times[frame] ?? 0);
  }
  return large;
}

export function marksOf(trace: PacketTrace): Marks {
  if (trace.keyTimes.length * 2 > trace.times.length) return { times: [], by: 'nothing' };
  const keys = earlyKeys(trace.keyTimes);
  return keys.length > 0 ? { times: keys, by: 'keys' } : { times: largeFrames(trace), by: 'sizes' };
}
