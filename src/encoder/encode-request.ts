// One file to encode: decode it, compute features, run both encoders. Independent of any prompt.
import { hash } from 'node:crypto';
import { abortError } from '../base/abort.ts';
import { fileIdentity } from '../base/file-memo.ts';
import type { FloatArray } from '../base/floats.ts';
import { EarlySteps } from '../features/early-steps.ts';
import { copyOfSteps } from '../features/patches.ts';
import type { PreparePool } from '../features/pool.ts';
import type { PrepareOptions } from '../features/prepare.ts';
import type { PixelNormalisation, PreparedMedia } from '../features/types.ts';
import type { MediaPlan } from '../media/types.ts';
import type { ModelConfig } from '../model/checkpoint/config-types.ts';
import type { Towers } from '../model/execution/thinker.ts';
import type { MediaTokens } from '../prompt/types.ts';
import { AvocadoError } from '../base/errors.ts';
import { encodeMedia, mediaOrder, VisionRun, type StepSource } from './encode-media.ts';

/** What is reported about decoded media, and needed to build a prompt for them: everything but pixels and samples. */
export interface MediaFacts {
  /** as planned, with the frames that could be decoded */
  readonly plan: MediaPlan;
  readonly audio: { readonly tokens: number; readonly samples: number } | undefined;
  readonly warnings: readonly string[];
}

/** Encoded media. Depends on the file, the profile and whether the sound is used. */
export interface EncodedMedia {
  readonly facts: MediaFacts;
  /** [media tokens, hidden] in the towers' dtype, in the order of the prompt rows they replace */
  readonly embeds: FloatArray;
}

/** Progress of an encoding. */
export type EncodeStep =
  | { readonly type: 'decoding'; readonly done: number; readonly total: number }
  /** `intact`: the file did not change while it was read */
  | { readonly type: 'decoded'; readonly facts: MediaFacts; readonly intact: boolean }
  | { readonly type: 'encoding'; readonly done: number; readonly total: number };

export interface EncodeResult {
  readonly media: EncodedMedia;
  /** seconds by stage; `vision`: what was left of it when everything had been decoded */
  readonly seconds: Readonly<Record<string, number>>;
}

export interface EncodeRequest {
  /** equal for files that give equal embeddings; undefined: unknown, so the result is not shared */
  readonly key: string | undefined;
  /** as errors name it */
  readonly path: string;
  /** of the embeddings of all segments, where this is one of them */
  readonly fileBytes?: number | undefined;
  readonly encode: (onStep: (step: EncodeStep) => void, signal: AbortSignal) => Promise<EncodeResult>;
}

/** What of a model encodes media. */
export interface EncoderModel {
  readonly pool: Pick<PreparePool, 'prepare' | 'patches'>;
  /** longest decoding of the frames, and of the sound */
  readonly decodeTimeoutSeconds: number;
  readonly preprocessor: PixelNormalisation;
  readonly config: ModelConfig;
  readonly towers: Towers;
}

/**
 * Everything that decides the embeddings: bytes, the part of the file, every number of the profile, and whether the
 * sound is used.
 */
function keyOf(contentHash: string, { probe, profile, video, audio }: MediaPlan): string {
  const numbers = Object.entries(profile).sort(([a], [b]) => (a < b ? -1 : 1));
  const parts = JSON.stringify([contentHash, probe.part, numbers, video?.kind ?? 'none', audio !== undefined]);
  return hash('sha256', parts);
}

/**
 * The planned media of a file as a request to the encoder.
 * @param contentHash undefined: the result is not shared
 * @param identity of the file before it was planned: a shared result must come from one state of the file
 */
export function encodeRequest(
  plan: MediaPlan,
  model: EncoderModel,
  contentHash: string | undefined,
  identity: string | undefined,
): EncodeRequest {
  const { path } = plan.probe;
  const isIntact = async (): Promise<boolean> => contentHash === undefined || (await fileIdentity(path)) === identity;
  return {
    key: contentHash === undefined ? undefined : keyOf(contentHash, plan),
    path,
    encode: (onStep, signal) => decodeAndEncode(plan, model, isIntact, onStep, signal),
  };
}

/**
 * The numbers of planned or decoded media that the prompt needs.
 * @throws AvocadoError `media_too_short` when there is neither a picture nor a token of sound
 */
export function mediaTokens({ video }: Pick<MediaPlan, 'video'>, audioTokens: number | undefined): MediaTokens {
  const audio = audioTokens === undefined || audioTokens === 0 ? undefined : audioTokens;
  if (video?.kind === 'image') return { kind: 'image', gridThw: video.gridThw };
  if (video !== undefined) {
    const { gridThw, secondPerGrid, startSeconds } = video;
    return { kind: 'video', gridThw, secondPerGrid, startSeconds, audioTokens: audio };
  }
  if (audio !== undefined) return { kind: 'audio', audioTokens: audio };
  throw new AvocadoError(
    'media_too_short',
    'There is nothing to caption: no picture, and less than 30 ms of sound. Give a longer file.',
  );
}

/**
 * decode → encode, the pictures of a video while they still arrive. The signal stops whichever is running.
 * @throws AvocadoError `media_*`, `engine_error`, `aborted`
 */
async function decodeAndEncode(
  plan: MediaPlan,
  model: EncoderModel,
  isIntact: () => Promise<boolean>,
  onStep: (step: EncodeStep) => void,
  signal: AbortSignal,
): Promise<EncodeResult> {
  const frames = plan.video?.frameIndices.length ?? 1;
  onStep({ type: 'decoding', done: 0, total: frames });
  const { decodeTimeoutSeconds } = model;
  const options = { preprocessor: model.preprocessor, keepWaveform: false, limits: { decodeTimeoutSeconds } };
  const { prepared, vision } = await prepareAndBegin(plan, model, options, signal);
  onStep({ type: 'decoding', done: frames, total: frames });
  const facts = factsOf(prepared);
  const order = mediaOrder(mediaTokens(facts.plan, facts.audio?.tokens), model.config);
  onStep({ type: 'decoded', facts, intact: await isIntact() });

  onStep({ type: 'encoding', done: 0, total: order.vision.length + order.audio.length });
  const cut = model.pool.patches.bind(model.pool);
  const { embeds, visionSeconds, audioSeconds } = await encodeMedia(prepared, order, model.towers, cut, {
    hiddenSize: model.config.text.hiddenSize,
    signal,
    vision,
    onProgress: (done, total) => {
      onStep({ type: 'encoding', done, total });
    },
  });
  const seconds = { ...prepared.seconds, vision: visionSeconds, audio_tower: audioSeconds };
  return { media: { facts, embeds }, seconds };
}

interface Begun {
  readonly prepared: PreparedMedia;
  /** of these media */
  readonly vision: VisionRun | undefined;
}

/**
 * Decodes, and encodes the frames of a video as they come. What fails first stops the other.
 * @throws AvocadoError `media_*`, `engine_error`, `aborted`
 */
async function prepareAndBegin(
  plan: MediaPlan,
  { pool, towers, config }: EncoderModel,
  options: PrepareOptions,
  signal: AbortSignal,
): Promise<Begun> {
  const { video } = plan;
  if (video?.kind !== 'video') return { prepared: await pool.prepare(plan, options, signal), vision: undefined };
  const other = new AbortController();
  const running = AbortSignal.any([signal, other.signal]);
  const early = new EarlySteps();
  const preparing = pool.prepare(plan, options, running, early);
  const steps: StepSource = async (from, to) => {
    const stack = await early.get(from, to);
    if (stack !== undefined) return stack;
    const { frames, startedOver } = await preparing;
    if (frames !== undefined && !startedOver) return copyOfSteps(frames, from, to);
    other.abort();
    throw abortError(other.signal); // there are no such frames, or they were others
  };
  const encoding = { hiddenSize: config.text.hiddenSize, signal: running };
  const vision = new VisionRun(steps, video.gridThw, towers, pool.patches.bind(pool), encoding);
  let first: unknown;
  const stop = (thrown: unknown): void => {
    first ??= thrown;
    other.abort();
  };
  void vision.failure().then((thrown) => {
    if (thrown !== undefined) stop(thrown);
  });
  try {
    const prepared = await preparing;
    if (prepared.frames !== undefined && !prepared.startedOver) return { prepared, vision };
    other.abort();
    await vision.failure();
    return { prepared, vision: undefined };
  } catch (thrown) {
    stop(thrown);
    await vision.failure();
    throw first;
  }
}

function factsOf({ plan, audio, warnings }: PreparedMedia): MediaFacts {
  return { plan, audio: audio && { tokens: audio.tokens, samples: audio.samples }, warnings };
}
