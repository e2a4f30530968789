import { AvocadoError } from '../base/errors.ts';
import { audioTokens, MAX_AUDIO_SECONDS, melFrames, SAMPLE_RATE } from './audio-length.ts';
import type { PreprocessProfile } from './profile.ts';
import { frameCount, frameIndices, frameSizes, smartResize, type FrameSizes } from './sampling.ts';
import type { AudioPlan, MediaPlan, MediaProbe, VideoPlan, VideoStream } from './types.ts';

export interface MediaPlanOptions {
  readonly useAudio: boolean;
  readonly patchSize: number;
  readonly mergeSize: number;
  readonly temporalPatchSize: number;
  /** pixels of a still picture, from the checkpoint's preprocessor_config.json */
  readonly imageLimits: { readonly minPixels: number; readonly maxPixels: number };
}

/** All frames are in memory at once after the first resize. This is twice what the largest named profile needs. */
const MAX_FRAME_BYTES = 2 * 1024 ** 3;

/** qwen-omni-utils MIN_PIXELS and MAX_PIXELS of `fetch_image`. */
const IMAGE_STAGE_A = { minPixels: 4 * 28 * 28, maxPixels: 16_384 * 28 * 28 };

/**
 * Decides which frames of a file are decoded, their sizes, the patch grid and the number of tokens (reference-model.md,
 * Frame sampling to Audio lengths).
 * @throws AvocadoError `media_too_short`, `media_aspect_ratio`, or `bad_request` when the request leaves neither video
 *   nor audio, or asks for more pixels than memory should hold
 */
export function planMedia(probe: MediaProbe, profile: PreprocessProfile, options: MediaPlanOptions): MediaPlan {
  const audio = probe.audio === undefined || !options.useAudio ? undefined : planAudio(probe.audio.durationSeconds);
  const video = probe.video && planPictures(probe.video, audio !== undefined, profile, options);
  if (video === undefined && audio === undefined) {
    throw new AvocadoError(
      'bad_request',
      'The file has only sound, and the request turns sound off. Turn it on, or give a video.',
      { param: 'audio' },
    );
  }
  return { probe, profile, video, audio };
}

function planPictures(
  stream: VideoStream,
  besideSound: boolean,
  profile: PreprocessProfile,
  options: MediaPlanOptions,
): VideoPlan {
  const factor = options.patchSize * options.mergeSize;
  if (stream.still) {
    const sizes = stillSizes(stream, profile, options, factor);
    checkMemory(1, sizes);
    return videoPlan('image', [0], 0, sizes, profile, options);
  }
  // The picture of a sound is one temporal step, as a picture alone is.
  const isCover = stream.totalFrames === 1 && besideSound;
  const count = isCover ? 2 : frameCount(stream.totalFrames, stream.averageFps, profile);
  const sampleFps = (count / stream.totalFrames) * stream.averageFps;
  const sizes = frameSizes(stream, count, factor, profile);
  checkMemory(count, sizes); // before anything of that size is made
  const indices = isCover ? [0, 0] : frameIndices(stream.totalFrames, count);
  const plan = videoPlan('video', indices, sampleFps, sizes, profile, options);
  return besideSound && stream.lateSeconds !== undefined ? { ...plan, startSeconds: stream.lateSeconds } : plan;
}

/** @throws AvocadoError `bad_request` for more pixels, after either resize, than memory should hold */
function checkMemory(count: number, { stageA, final }: FrameSizes): void {
  for (const { width, height } of [stageA, final]) {
    if (count * height * width * 3 <= MAX_FRAME_BYTES) continue;
    const asked = count === 1 ? `a picture of ${width}x${height}` : `${count} frames of ${width}x${height}`;
    throw new AvocadoError(
      'bad_request',
      `The request asks for ${asked}, more than memory should hold. Lower the frames, or the pixels of each.`,
    );
  }
}

function stillSizes(
  stream: VideoStream,
  profile: PreprocessProfile,
  options: MediaPlanOptions,
  factor: number,
): FrameSizes {
  const limits = (fallback: MediaPlanOptions['imageLimits']): MediaPlanOptions['imageLimits'] => ({
    minPixels: profile.imageMinPixels ?? fallback.minPixels,
    maxPixels: profile.imageMaxPixels ?? fallback.maxPixels,
  });
  const first = limits(IMAGE_STAGE_A);
  const stageA = smartResize(stream, factor, {
    minPixels: profile.stillMinPixels ?? first.minPixels,
    maxPixels: profile.stillMaxPixels ?? first.maxPixels,
  });
  return { stageA, final: smartResize(stageA, factor, limits(options.imageLimits)) };
}

function videoPlan(
  kind: VideoPlan['kind'],
  indices: readonly number[],
  sampleFps: number,
  sizes: FrameSizes,
  profile: PreprocessProfile,
  options: MediaPlanOptions,
): VideoPlan {
  // A still picture is one temporal step: its only frame is used twice.
  const steps = Math.ceil(indices.length / options.temporalPatchSize);
  const rows = sizes.final.height / options.patchSize;
  const columns = sizes.final.width / options.patchSize;
  return {
    kind,
    frameIndices: indices,
    sampleFps,
    ...sizes,
    gridThw: [steps, rows, columns],
    // The model is told the profile's rate, never the true one (reference-model.md, Seconds per grid).
    secondPerGrid: options.temporalPatchSize / profile.processorFps,
    tokens: (steps * rows * columns) / options.mergeSize ** 2,
  };
}

function planAudio(durationSeconds: number): AudioPlan {
  // A browser's recording (webm) does not state its duration. Decoding will show how much audio there is.
  if (durationSeconds === 0) return { durationSeconds, estimatedTokens: 1 };
  const seconds = Math.min(durationSeconds, MAX_AUDIO_SECONDS);
  return { durationSeconds: seconds, estimatedTokens: audioTokens(melFrames(Math.round(seconds * SAMPLE_RATE))) };
}
