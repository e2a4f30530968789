// Turns a probe and a profile into the exact list of what will be read. Decides everything, decodes nothing.
import { AvocadoError } from '../base/errors.ts';
import { audioTokens, MAX_AUDIO_SECONDS, melFrames, SAMPLE_RATE } from './audio-length.ts';
import { frameSizes, type FrameSizes } from './pixel-budget.ts';
import { frameCount, frameIndices } from './sampling.ts';
import { smartResize } from './smart-resize.ts';
import type { AudioPlan, MediaPlan, MediaProbe, PreprocessProfile, VideoPlan, VideoStream } from './types.ts';

export interface PlanOptions {
  readonly useAudio: boolean;
  readonly patchSize: number;
  readonly mergeSize: number;
  readonly temporalPatchSize: number;
  /** of still pictures, pixels: the checkpoint's preprocessor_config.json */
  readonly imageLimits: { readonly minPixels: number; readonly maxPixels: number };
}

/** All frames after the first resize are in memory at once. Twice what the largest named profile needs; overrides could ask for more. */
const MOST_FRAME_BYTES = 2 * 1024 ** 3;

/** qwen-omni-utils MIN_PIXELS and MAX_PIXELS of `fetch_image`. */
const IMAGE_STAGE_A = { minPixels: 4 * 28 * 28, maxPixels: 16_384 * 28 * 28 };

/**
 * Plans frames, sizes, grid and tokens of one file (reference-model 3.2, 3.3, 3.5, 3.6, 4.3).
 * @throws AvocadoError `media_too_short`, `media_aspect_ratio`, or `bad_request` when the request leaves nothing to look at or hear
 */
export function planMedia(probe: MediaProbe, profile: PreprocessProfile, options: PlanOptions): MediaPlan {
  const video = probe.video === undefined ? undefined : planPictures(probe.video, profile, options);
  const audio = probe.audio === undefined || !options.useAudio ? undefined : planAudio(probe.audio.durationSeconds);
  if (video === undefined && audio === undefined) {
    throw new AvocadoError(
      'bad_request',
      'The file has only sound, and the request turns sound off. Turn it on, or give a video.',
      { param: 'audio' },
    );
  }
  return { probe, profile, video, audio };
}

function planPictures(stream: VideoStream, profile: PreprocessProfile, options: PlanOptions): VideoPlan {
  const factor = options.patchSize * options.mergeSize;
  if (stream.still) return finish('image', [0], 0, stillSizes(stream, profile, options, factor), profile, options);
  const count = frameCount(stream.totalFrames, stream.averageFps, profile);
  const sampleFps = (count / stream.totalFrames) * stream.averageFps;
  return finish(
    'video',
    frameIndices(stream.totalFrames, count),
    sampleFps,
    frameSizes(stream, count, factor, profile),
    profile,
    options,
  );
}

function stillSizes(stream: VideoStream, profile: PreprocessProfile, options: PlanOptions, factor: number): FrameSizes {
  const limits = (fallback: PlanOptions['imageLimits']): PlanOptions['imageLimits'] => ({
    minPixels: profile.imageMinPixels ?? fallback.minPixels,
    maxPixels: profile.imageMaxPixels ?? fallback.maxPixels,
  });
  const stageA = smartResize(stream, factor, limits(IMAGE_STAGE_A));
  return { stageA, final: smartResize(stageA, factor, limits(options.imageLimits)) };
}

function finish(
  kind: VideoPlan['kind'],
  indices: readonly number[],
  sampleFps: number,
  sizes: FrameSizes,
  profile: PreprocessProfile,
  options: PlanOptions,
): VideoPlan {
  // A still picture is one step: its only frame is used twice.
  const steps = Math.ceil(indices.length / options.temporalPatchSize);
  const bytes = indices.length * sizes.stageA.height * sizes.stageA.width * 3;
  if (bytes > MOST_FRAME_BYTES) {
    const asked = `${indices.length} frames of ${sizes.stageA.width}x${sizes.stageA.height}`;
    throw new AvocadoError(
      'bad_request',
      `The request asks for ${asked}, more than memory should hold. Lower the frames, or the pixels of each.`,
    );
  }
  const rows = sizes.final.height / options.patchSize;
  const columns = sizes.final.width / options.patchSize;
  return {
    kind,
    frameIndices: indices,
    sampleFps,
    ...sizes,
    gridThw: [steps, rows, columns],
    // The rate told to the model is the profile's, never the true one (reference-model 3.6).
    secondPerGrid: options.temporalPatchSize / profile.processorFps,
    tokens: (steps * rows * columns) / options.mergeSize ** 2,
  };
}

function planAudio(durationSeconds: number): AudioPlan {
  // A recorder's webm does not say how long it is: there is sound, and decoding will tell how much.
  if (durationSeconds === 0) return { durationSeconds, estimatedTokens: 1 };
  const heard = Math.min(durationSeconds, MAX_AUDIO_SECONDS);
  return { durationSeconds: heard, estimatedTokens: audioTokens(melFrames(Math.round(heard * SAMPLE_RATE))) };
}
