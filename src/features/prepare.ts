import type { decodeAudio } from '../media/decode-audio.ts';
import type { DecodedFrames, decodeFrames } from '../media/decode-frames.ts';
import type { MediaLimits, MediaPlan, VideoPlan } from '../media/types.ts';
import { logMel, melLengths, PADDED_SAMPLES } from './log-mel.ts';
import { createResizer, type FrameSize, type Resizer } from './resize.ts';
import { resizeStill } from './resize-still.ts';
import type { AudioFeatures, FrameStack, PixelNormalisation, PreparedMedia } from './types.ts';

export interface PrepareOptions {
  readonly preprocessor: PixelNormalisation;
  /** hand the 16 kHz waveform back as well */
  readonly keepWaveform: boolean;
  readonly limits?: Partial<MediaLimits> | undefined;
}

/** media/'s two decoders, handed in: this stage knows what they give, not how they run. */
export interface Decoders {
  readonly frames: typeof decodeFrames;
  readonly audio: typeof decodeAudio;
}

interface Seen extends DecodedFrames {
  readonly stack: FrameStack;
  readonly seconds: { readonly decode: number; readonly resize: number };
}

interface Heard {
  readonly audio: AudioFeatures | undefined;
  readonly warnings: readonly string[];
  readonly decoderLog: readonly string[];
  readonly seconds: { readonly audio: number; readonly mel: number };
}

function secondsSince(started: number): number {
  return (performance.now() - started) / 1000;
}

/** Pictures take Pillow's resize for both stages, videos torch's for the first; the second waits for the patches. */
function resizerFor(video: VideoPlan, source: FrameSize): { resize: Resizer; size: FrameSize } {
  if (video.kind === 'video') return { resize: createResizer(source, video.stageA), size: video.stageA };
  const resize: Resizer = (from, to) => {
    to.set(resizeStill(resizeStill(from, source, video.stageA), video.stageA, video.final));
  };
  return { resize, size: video.final };
}

/** Decodes and resizes each frame as it arrives: at full size, only the decoder's own buffers exist. */
async function see(
  plan: MediaPlan,
  video: VideoPlan,
  options: PrepareOptions,
  decode: Decoders['frames'],
  signal: AbortSignal,
): Promise<Seen> {
  const source = plan.probe.video;
  if (source === undefined) throw new Error('A plan shows pictures of a file without any. This is a bug.');
  const started = performance.now();
  const { resize, size } = resizerFor(video, source);
  const frameSize = size.height * size.width * 3;
  const data = new Uint8Array(new SharedArrayBuffer(video.frameIndices.length * frameSize));
  let resizing = 0;
  const onFrame = (frame: Uint8Array, position: number): void => {
    const before = performance.now();
    resize(frame, data.subarray(position * frameSize, (position + 1) * frameSize));
    resizing += secondsSince(before);
  };
  const decoded = await decode(plan, onFrame, { signal, limits: options.limits });
  const stack = {
    data,
    frames: decoded.plan.frameIndices.length,
    ...size,
    final: video.final,
    normalisation: options.preprocessor,
  };
  return { ...decoded, stack, seconds: { decode: secondsSince(started) - resizing, resize: resizing } };
}

async function hear(
  plan: MediaPlan,
  options: PrepareOptions,
  decode: Decoders['audio'],
  signal: AbortSignal,
): Promise<Heard> {
  const started = performance.now();
  const { waveform, warnings, decoderLog } = await decode(plan, { signal, limits: options.limits });
  const audio = secondsSince(started);
  const before = performance.now();
  const samples = Math.min(waveform.length, PADDED_SAMPLES);
  const features: AudioFeatures = {
    ...logMel(waveform),
    tokens: melLengths(samples).tokens,
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

type Work<T> = (signal: AbortSignal) => Promise<T>;

/** Runs both at once; when one fails the other is stopped and awaited, so that nothing outlives the answer. */
async function together<A, B>(first: Work<A>, second: Work<B>, signal: AbortSignal): Promise<[A, B]> {
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

/**
 * Decodes what a plan promises into what the towers need. Memory: the resized frames, two frames at full size, the waveform
 * and its log-mel. When the promise settles, no decoder is left running.
 * @throws AvocadoError `media_undecodable`, `media_timeout`, `aborted`
 */
export async function prepareMedia(
  plan: MediaPlan,
  options: PrepareOptions,
  decoders: Decoders,
  signal: AbortSignal,
): Promise<PreparedMedia> {
  const { video } = plan;
  const [seen, heard] = await together(
    async (stop) => (video === undefined ? undefined : await see(plan, video, options, decoders.frames, stop)),
    async (stop) => (plan.audio === undefined ? undefined : await hear(plan, options, decoders.audio, stop)),
    signal,
  );
  return {
    plan: seen === undefined ? plan : { ...plan, video: seen.plan },
    frames: seen?.stack,
    audio: heard?.audio,
    warnings: [...(plan.probe.warnings ?? []), ...(seen?.warnings ?? []), ...(heard?.warnings ?? [])],
    decoderLog: [...(seen?.decoderLog ?? []), ...(heard?.decoderLog ?? [])],
    seconds: { ...seen?.seconds, ...heard?.seconds },
  };
}
