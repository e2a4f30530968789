import { AvocadoError } from '../base/errors.ts';
import { decodeStill } from './decode-still.ts';
import { runFfmpeg, type FfmpegOutcome } from './ffmpeg.ts';
import { FrameAssembler, type FrameReader } from './frame-assembler.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import { selectExpression } from './select-expression.ts';
import type { MediaLimits, MediaPlan, VideoPlan, VideoStream } from './types.ts';

export interface DecodeFramesOptions {
  readonly signal?: AbortSignal | undefined;
  readonly limits?: Partial<MediaLimits> | undefined;
  /** frames that may be with their reader or arriving at once; default 2 */
  readonly buffers?: number | undefined;
}

export interface DecodedFrames {
  /** as asked, or shorter where the file did not give all frames: an even number of them, sizes unchanged */
  readonly plan: VideoPlan;
  readonly warnings: readonly string[];
  readonly decoderLog: readonly string[];
}

/**
 * Decodes the planned frames and hands them to `onFrame` in order: upright RGB, u8 [height, width, 3] at the source's full size,
 * as the ffmpeg command line converts them. Where fewer frames come than planned, the reader may have seen one more than the
 * returned plan counts. Memory: `buffers` frames.
 * @throws AvocadoError `media_undecodable` below two frames, `media_timeout`, `aborted`; or whatever `onFrame` threw
 */
export async function decodeFrames(
  plan: MediaPlan,
  onFrame: FrameReader,
  options: DecodeFramesOptions = {},
): Promise<DecodedFrames> {
  const { video } = plan;
  const stream = plan.probe.video;
  if (video === undefined || stream === undefined)
    throw new Error('There are no frames to decode in this plan. This is a bug.');
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  if (stream.still) {
    const picture = await decodeStill(plan.probe.path, limits.maxStillPixels);
    await onFrame(picture.data, 0);
    return { plan: video, warnings: [], decoderLog: [] };
  }
  const { indices, positions } = groupRepeats(video.frameIndices);
  const assembler = new FrameAssembler(stream.width * stream.height * 3, options.buffers ?? 2, positions, onFrame);
  const outcome = await runFfmpeg({
    path: plan.probe.path,
    logLevel: 'error',
    outputOptions: outputOptions(stream, indices),
    maxPixels: limits.maxPixels,
    timeoutSeconds: limits.decodeTimeoutSeconds,
    signal: options.signal,
    onChunk: (chunk) => {
      const waiting = assembler.push(chunk);
      return waiting === undefined ? 'more' : waiting.then(() => 'more');
    },
  });
  await assembler.finish();
  return judge(video, assembler.delivered, outcome);
}

function outputOptions(stream: VideoStream, indices: readonly number[]): string[] {
  // The size is fixed so that a stream that changes it on the way cannot shift the frames' borders.
  const filter = `select='${selectExpression(indices)}',scale=${stream.width}:${stream.height}`;
  return [
    '-map',
    `0:${stream.index}`,
    '-filter:v',
    filter,
    '-fps_mode',
    'passthrough',
    '-frames:v',
    String(indices.length),
    '-pix_fmt',
    'rgb24',
    '-f',
    'rawvideo',
  ];
}

/** Distinct indices, and the positions of the plan that each serves. */
function groupRepeats(frameIndices: readonly number[]): { indices: number[]; positions: number[][] } {
  const groups = new Map<number, number[]>();
  for (const [position, index] of frameIndices.entries()) groups.set(index, [...(groups.get(index) ?? []), position]);
  return { indices: [...groups.keys()], positions: [...groups.values()] };
}

function judge(video: VideoPlan, delivered: number, outcome: FfmpegOutcome): DecodedFrames {
  const planned = video.frameIndices.length;
  const kept = delivered - (delivered % 2);
  const last = outcome.log.at(-1);
  if (kept < 2)
    throw new AvocadoError(
      'media_undecodable',
      `The video cannot be decoded: ${delivered} of ${planned} frames came${last === undefined ? '' : ` (${last})`}. Re-encode it.`,
    );
  const warnings: string[] = [];
  if (kept < planned)
    warnings.push(`Only ${kept} of ${planned} frames could be decoded; the rest of the video was not seen.`);
  else if (outcome.errors > 0)
    warnings.push(`The video is damaged: the decoder met ${outcome.errors} errors, and some frames may show it.`);
  return { plan: kept < planned ? shorten(video, kept) : video, warnings, decoderLog: outcome.log };
}

function shorten(video: VideoPlan, frames: number): VideoPlan {
  const [steps, rows, columns] = video.gridThw;
  const perStep = video.frameIndices.length / steps;
  const left = frames / perStep;
  return {
    ...video,
    frameIndices: video.frameIndices.slice(0, frames),
    gridThw: [left, rows, columns],
    tokens: (video.tokens / steps) * left,
  };
}
