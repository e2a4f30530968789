// Which frames of a video are looked at. Pure: knows counts and rates, never the file.
import { AvocadoError } from '../base/errors.ts';
import { roundHalfEven } from './round-half-even.ts';
import type { PreprocessProfile } from './types.ts';

/** Two frames make one temporal step (qwen-omni-utils FRAME_FACTOR). */
const FRAME_FACTOR = 2;

/** The fields of a profile that decide the number of frames. */
export type SamplingRules = Pick<PreprocessProfile, 'fps' | 'nframes' | 'minFrames' | 'maxFrames'>;

/**
 * How many frames to look at: always even (reference-model 3.2, qwen-omni-utils `smart_nframes`).
 * @param total frames in the file
 * @param averageFps the container's average rate
 * @throws AvocadoError `media_too_short` below two frames; `bad_request` when the rules ask for fewer than 2 or more than there are
 */
export function frameCount(total: number, averageFps: number, rules: SamplingRules): number {
  if (total < FRAME_FACTOR) {
    throw new AvocadoError(
      'media_too_short',
      `The video has ${total === 1 ? 'one frame' : 'no frames'}; at least two are needed. Give a longer clip, or the picture as an image file.`,
    );
  }
  const count =
    rules.nframes === undefined
      ? countByRate(total, averageFps, rules)
      : roundHalfEven(rules.nframes / FRAME_FACTOR) * FRAME_FACTOR;
  if (count >= FRAME_FACTOR && count <= total) return count;
  const param = rules.nframes === undefined ? 'max_frames' : 'nframes';
  throw new AvocadoError('bad_request', `${param} asks for ${count} frames; this video allows 2 to ${total}.`, {
    param,
  });
}

function countByRate(total: number, averageFps: number, rules: SamplingRules): number {
  const fewest = Math.ceil(rules.minFrames / FRAME_FACTOR) * FRAME_FACTOR;
  const most = Math.floor(rules.maxFrames / FRAME_FACTOR) * FRAME_FACTOR;
  const wanted = (total / averageFps) * rules.fps;
  return Math.floor(Math.min(Math.max(wanted, fewest), most, total) / FRAME_FACTOR) * FRAME_FACTOR;
}

/**
 * `count` indices from the first frame to the last: torch.linspace(0, total - 1, count).round() (reference-model 3.2).
 * torch works in float32 with one rounding per value, from both ends; float64 would pick another frame in 7 % of long clips.
 */
export function frameIndices(total: number, count: number): number[] {
  const last = total - 1;
  const step = Math.fround(last / (count - 1));
  const half = Math.floor(count / 2);
  return Array.from({ length: count }, (_, i) =>
    roundHalfEven(Math.fround(i < half ? step * i : last - step * (count - 1 - i))),
  );
}
