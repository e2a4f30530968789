// From a plan to the features that the encoders take. Decoding and resizing overlap; frames and audio run at the same
// time.
import { AvocadoError } from '../base/errors.ts';
import { audioTokens, MAX_SAMPLES } from '../media/audio-length.ts';
import type { decodeAudio } from '../media/decode-audio.ts';
import type { DecodedFrames, decodeFrames } from '../media/decode-frames.ts';
import type { FrameSize } from '../media/sampling.ts';
import type { MediaLimits, MediaPlan, VideoPlan } from '../media/types.ts';
import type { StepSender } from './early-steps.ts';
import { logMel } from './log-mel.ts';
import { createAsideResizer, createResizer, resizeStill, type Resizer } from './resize.ts';
import type { AudioFeatures, FrameStack, PixelNormalisation, PreparedMedia } from './types.ts';

export interface PrepareOptions {
  readonly preprocessor: PixelNormalisation;
  /** return the 16 kHz waveform too */
  readonly keepWaveform: boolean;
  readonly limits?: Partial<MediaLimits> | undefined;
}

/** What the thread adds that prepares. */
export interface ThreadOptions extends PrepareOptions {
  /** frames are resized in the calling thread, at its priority, while the decoder waits */
  readonly resizesHere?: boolean | undefined;
  /** gets a video's frames as they are ready */
  readonly early?: Pick<StepSender, 'begin' | 'arrived' | 'startOver'> | undefined;
}

/** The decoders of media/, passed in so that tests can replace them. */
export interface Decoders {
  readonly frames: typeof decodeFrames;
  readonly audio: typeof decodeAudio;
}

interface VideoFeatures extends DecodedFrames {
  readonly stack: FrameStack;
  readonly startedOver: boolean;
  /** `resize`: what its thread took; `decode`: the rest of the time */
  readonly seconds: { readonly decode: number; readonly resize: number };
}

interface AudioResult {
  /** undefined when nothing could be decoded */
  readonly audio: AudioFeatures | undefined;
  readonly warnings: readonly string[];
  readonly decoderLog: readonly string[];
  readonly seconds: { readonly audio: number; readonly mel: number };
}

function secondsSince(started: number): number {
  return (performance.now() - started) / 1000;
}

/**
 * Pictures are resized twice by Pillow's algorithm. Videos are resized once by torch's; the second resize is part of
 * cutPatches.
 */
function resizerFor(
  video: VideoPlan,
  source: FrameSize,
  here: boolean,
): { resize: ReturnType<typeof createAsideResizer>; size: FrameSize } {
  if (video.kind === 'video') {
    const create = here ? createResizer : createAsideResizer;
    return { resize: create(source, video.stageA), size: video.stageA };
  }
  const resize: Resizer = (from, to) => {
    to.set(resizeStill(resizeStill(from, source, video.stageA), video.stageA, video.final));
  };
  return { resize, size: video.final };
}

/** Resizes each frame as it arrives, so that only the decoder's own buffers exist at full size. */
async function prepareVideo(
  plan: MediaPlan,
  video: VideoPlan,
  options: ThreadOptions,
  decode: Decoders['frames'],
  signal: AbortSignal,
): Promise<VideoFeatures> {
  const source = plan.probe.video;
  if (source === undefined) throw new Error('The plan has frames of a file without video. This is a bug.');
  const started = performance.now();
  const { resize, size } = resizerFor(video, source, options.resizesHere === true);
  const frameSize = size.height * size.width * 3;
  const data = new Uint8Array(video.frameIndices.length * frameSize);
  const frames = video.frameIndices.length;
  const planned: FrameStack = { data, frames, ...size, final: video.final, normalisation: options.preprocessor };
  const early = video.kind === 'video' ? options.early : undefined;
  early?.begin(planned);
  let resizing = 0;
  let last = -1;
  let startedOver = false;
  const onFrame = (frame: Uint8Array, position: number): void | Promise<void> => {
    const before = performance.now();
    if (position <= last && !startedOver) {
      startedOver = true;
      early?.startOver();
    }
    last = position;
    const finish = (): void => {
      resizing += secondsSince(before);
      early?.arrived(position);
    };
    const pending = resize(frame, data.subarray(position * frameSize, (position + 1) * frameSize));
    if (pending !== undefined) return pending.then(finish);
    finish();
  };
  const decoded = await decode(plan, onFrame, { signal, limits: options.limits });
  const stack = { ...planned, frames: decoded.plan.frameIndices.length };
  return {
    ...decoded,
    stack,
    startedOver,
    seconds: { decode: Math.max(0, secondsSince(started) - resizing), resize: resizing },
  };
}

async function prepareAudio(
  plan: MediaPlan,
  options: PrepareOptions,
  decode: Decoders['audio'],
  signal: AbortSignal,
): Promise<AudioResult> {
  const started = performance.now();
  const { waveform, warnings, decoderLog } = await decode(plan, { signal, limits: options.limits });
  const audio = secondsSince(started);
  const before = performance.now();
  const samples = Math.min(waveform.length, MAX_SAMPLES);
  const { mel, frames } = logMel(waveform);
  const features: AudioFeatures = {
    mel,
    frames,
    tokens: audioTokens(frames),
    samples,
    waveform: options.keepWaveform ? waveform : undefined,
  };
  return {
    audio: samples === 0 ? undefined : features,
    warnings,
    decoderLog,
    seconds: { audio, mel: secondsSince(before) },
  };
}

/**
 * Runs both at the same time. When one fails, the other is stopped and awaited.
 * @throws the first failure
 */
async function runBoth<A, B>(
  first: (signal: AbortSignal) => Promise<A>,
  second: (signal: AbortSignal) => Promise<B>,
  signal: AbortSignal,
): Promise<[A, B]> {
  const other = new AbortController();
  const stop = AbortSignal.any([signal, other.signal]);
  let failure: unknown;
  const guard = (error: unknown): never => {
    failure ??= error;
    other.abort();
    throw error;
  };
  const [a, b] = await Promise.allSettled([first(stop).catch(guard), second(stop).catch(guard)]);
  if (a.status === 'fulfilled' && b.status === 'fulfilled') return [a.value, b.value];
  throw failure;
}

function isUndecodable(error: unknown): error is AvocadoError {
  return error instanceof AvocadoError && error.code === 'media_undecodable';
}

/**
 * Decodes a planned file and makes the inputs of the encoders. Memory: the resized frames, two frames at full size, the
 * waveform and its log-mel. When the promise settles, no decoder is left running.
 * @throws AvocadoError `media_undecodable`, `media_timeout`, `engine_error`, `aborted`
 */
export async function prepareFeatures(
  plan: MediaPlan,
  options: ThreadOptions,
  decoders: Decoders,
  signal: AbortSignal,
): Promise<PreparedMedia> {
  const { video } = plan;
  let unseen: AvocadoError | undefined;
  // A video that cannot be decoded does not take the sound beside it along.
  const hearAnyway = (error: unknown): undefined => {
    if (!isUndecodable(error) || plan.audio === undefined) throw error;
    unseen = error;
  };
  const [pictures, audio] = await runBoth(
    async (stop) => video && (await prepareVideo(plan, video, options, decoders.frames, stop).catch(hearAnyway)),
    async (stop) => (plan.audio === undefined ? undefined : await prepareAudio(plan, options, decoders.audio, stop)),
    signal,
  );
  if (unseen !== undefined && audio?.audio === undefined) throw unseen;
  const lost = unseen === undefined ? [] : [`${unseen.message} Only the sound is captioned.`];
  return {
    plan: { ...plan, video: pictures?.plan },
    frames: pictures?.stack,
    audio: audio?.audio,
    startedOver: pictures?.startedOver ?? false,
    warnings: [...(plan.probe.warnings ?? []), ...lost, ...(pictures?.warnings ?? []), ...(audio?.warnings ?? [])],
    decoderLog: [...(pictures?.decoderLog ?? []), ...(audio?.decoderLog ?? [])],
    seconds: { ...pictures?.seconds, ...audio?.seconds },
  };
}
