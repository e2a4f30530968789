// Which frames of a video the model sees, and how large. Pure: it works on counts, rates and sizes, never on the file.
import { AvocadoError } from '../base/errors.ts';
import type { PreprocessProfile } from './profile.ts';
import type { VideoStream } from './types.ts';

/** Two frames make one temporal step (qwen-omni-utils FRAME_FACTOR). */
const FRAME_FACTOR = 2;

/** The fields of a profile that decide the number of frames. */
type SamplingRules = Pick<PreprocessProfile, 'fps' | 'nframes' | 'minFrames' | 'maxFrames'>;

/**
 * Number of frames to decode: always even (reference-model.md, Frame sampling; qwen-omni-utils `smart_nframes`).
 * @param total frames in the file
 * @param averageFps the container's average rate
 * @throws AvocadoError `media_too_short` below two frames; `bad_request` when the rules ask for fewer than 2 or more
 *   than there are
 */
export function frameCount(total: number, averageFps: number, rules: SamplingRules): number {
  if (total < FRAME_FACTOR) throw tooFewFrames(total);
  const count =
    rules.nframes === undefined
      ? countByRate(total, averageFps, rules)
      : roundHalfEven(rules.nframes / FRAME_FACTOR) * FRAME_FACTOR;
  if (count >= FRAME_FACTOR && count <= total) return count;
  const param = rules.nframes === undefined ? 'max_frames' : 'nframes';
  const asked = rules.nframes === undefined ? `${param} asks for` : `${param} ${rules.nframes} is rounded to`;
  throw new AvocadoError('bad_request', `${asked} ${count} frames; this video allows 2 to ${total}.`, { param });
}

/** Frames are sampled by number. Where they are more uneven (PacketTally), half of the time or more is hardly seen. */
export const MOST_UNEVEN = 0.5;
export const UNEVEN_FRAMES =
  'The frames come at very uneven times, and they are sampled by their number: slow parts are hardly seen. ' +
  'To sample by time, give the video a constant frame rate (ffmpeg -fps_mode cfr).';

/** The error for a video that has fewer than two frames. */
export function tooFewFrames(total: number): AvocadoError {
  const found = total === 1 ? 'one frame' : 'no frames';
  return new AvocadoError(
    'media_too_short',
    `The video has ${found}; at least two are needed. Give a longer clip, or the picture as an image file.`,
  );
}

function countByRate(total: number, averageFps: number, rules: SamplingRules): number {
  const fewest = Math.ceil(rules.minFrames / FRAME_FACTOR) * FRAME_FACTOR;
  const most = Math.floor(rules.maxFrames / FRAME_FACTOR) * FRAME_FACTOR;
  const wanted = (total / averageFps) * rules.fps;
  return Math.floor(Math.min(Math.max(wanted, fewest), most, total) / FRAME_FACTOR) * FRAME_FACTOR;
}

/**
 * `count` indices from the first frame to the last: torch.linspace(0, total - 1, count).round() (reference-model.md,
 * Frame sampling). torch works in float32 with one rounding per value, from both ends; float64 would choose another
 * frame in 7 % of long clips.
 */
export function frameIndices(total: number, count: number): number[] {
  const last = total - 1;
  const step = Math.fround(last / (count - 1));
  const half = Math.floor(count / 2);
  return Array.from({ length: count }, (_, i) =>
    roundHalfEven(Math.fround(i < half ? step * i : last - step * (count - 1 - i))),
  );
}

/**
 * The frames that stand in for planned ones, where a decoder gives other frames than the packets promised: those
 * nearest in time. Where the times do not tell, the plan is spread over what came.
 * @param planned indices among `totalFrames`
 * @param framesSpan seconds
 * @param times of the frames that came, seconds; at least one
 * @returns ascending indices into `times`, and how many of them stand in for another frame: those that are more than an
 *   interval off, or the share that is missing
 */
export function nearestFrames(
  planned: readonly number[],
  { totalFrames, framesSpan }: Pick<VideoStream, 'totalFrames' | 'framesSpan'>,
  times: readonly number[],
): { readonly indices: number[]; readonly replaced: number } {
  const last = Math.max(1, totalFrames - 1);
  const isInOrder = times.every((time, index) => index === 0 || time > (times[index - 1] ?? time));
  if (framesSpan === undefined || !isInOrder) {
    const indices = planned.map((index) => Math.round((index / last) * (times.length - 1)));
    const missing = Math.max(0, totalFrames - times.length) / totalFrames;
    return { indices, replaced: Math.round(planned.length * missing) };
  }
  const [start, end] = framesSpan;
  const interval = (end - start) / last;
  const [first = 0, final = first] = [times[0], times.at(-1)];
  const farOff = Math.max(interval, (final - first) / Math.max(1, times.length - 1));
  let replaced = 0;
  let at = 0;
  const indices = planned.map((index) => {
    const wanted = start + index * interval;
    const distance = (candidate: number): number => Math.abs((times[candidate] ?? Infinity) - wanted);
    while (distance(at + 1) < distance(at)) at++;
    if (distance(at) > farOff) replaced++;
    return at;
  });
  return { indices, replaced };
}

export interface FrameSize {
  readonly height: number;
  readonly width: number;
}

/** qwen-omni-utils MAX_RATIO (reference-model.md, Pixel budget). */
const MAX_ASPECT_RATIO = 200;

/** @throws AvocadoError `media_aspect_ratio` when one side is more than 200 times the other */
export function checkAspectRatio({ height, width }: FrameSize): void {
  if (Math.max(height, width) / Math.min(height, width) <= MAX_ASPECT_RATIO) return;
  throw new AvocadoError(
    'media_aspect_ratio',
    `The picture is ${width}x${height}: ` +
      `one side may be at most ${MAX_ASPECT_RATIO} times the other. Crop it or pad it.`,
  );
}

/**
 * The size nearest to `size` whose sides are multiples of `factor` and whose area is within the limits
 * (reference-model.md, Pixel budget; qwen-omni-utils 0.0.8 `smart_resize`, float64 throughout).
 * @param limits pixels; may be fractional
 * @throws AvocadoError `media_aspect_ratio`
 */
export function smartResize(
  size: FrameSize,
  factor: number,
  limits: { readonly minPixels: number; readonly maxPixels: number },
): FrameSize {
  checkAspectRatio(size);
  const { minPixels, maxPixels } = limits;
  const nearest = (side: number): number => Math.max(factor, roundHalfEven(side / factor) * factor);
  const height = nearest(size.height);
  const width = nearest(size.width);
  if (height * width > maxPixels) {
    const beta = Math.sqrt((size.height * size.width) / maxPixels);
    const shrink = (side: number): number => Math.max(factor, Math.floor(side / beta / factor) * factor);
    return { height: shrink(size.height), width: shrink(size.width) };
  }
  if (height * width < minPixels) {
    const beta = Math.sqrt(minPixels / (size.height * size.width));
    const grow = (side: number): number => Math.ceil((side * beta) / factor) * factor;
    return { height: grow(size.height), width: grow(size.width) };
  }
  return { height, width };
}

/**
 * qwen-omni-utils VIDEO_MAX_PIXELS: the largest frame that a request can ask for (reference-model.md, Pixel budget).
 */
const FRAME_MAX_PIXELS = 768 * 28 * 28;

/** The fields of a profile that decide the size of a frame. */
type PixelRules = Pick<
  PreprocessProfile,
  'minPixels' | 'maxPixels' | 'totalPixels' | 'processorMinPixels' | 'processorMaxPixels'
>;

/** Largest area of one frame when `count` frames share the budget, pixels; may be fractional. @see smartResize */
export function pixelCap(count: number, rules: PixelRules): number {
  const share = (Math.trunc(rules.totalPixels) / count) * 2;
  const cap = Math.max(Math.min(FRAME_MAX_PIXELS, share), Math.trunc(rules.minPixels * 1.05));
  return Math.min(rules.maxPixels ?? cap, cap);
}

export interface FrameSizes {
  /** after the first resize (qwen-omni-utils) */
  readonly stageA: FrameSize;
  /** after the second (the processor); equal to stageA where the second changes nothing */
  readonly final: FrameSize;
}

/**
 * Sizes of every frame after the first and the second resize (reference-model.md, Pixel budget and Second resize).
 * @throws AvocadoError `media_aspect_ratio`
 */
export function frameSizes(source: FrameSize, count: number, factor: number, rules: PixelRules): FrameSizes {
  const stageA = smartResize(source, factor, { minPixels: rules.minPixels, maxPixels: pixelCap(count, rules) });
  return {
    stageA,
    final: smartResize(stageA, factor, { minPixels: rules.processorMinPixels, maxPixels: rules.processorMaxPixels }),
  };
}

/** Rounds as Python's and torch's `round`: a tie goes to the even neighbour. */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const fraction = value - floor;
  if (fraction !== 0.5) return fraction < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}
