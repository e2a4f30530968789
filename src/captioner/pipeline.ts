// START HERE. The pipeline of one caption: plan → admit → decode → encode → prefill → generate, reported as events.
import { abortError, withSignal } from '../base/abort.ts';
import { fileIdentity, type FileMemo } from '../base/file-memo.ts';
import { FLOAT_BYTES } from '../base/floats.ts';
import type { Foreground } from '../base/foreground.ts';
import {
  encodeRequest,
  mediaTokens,
  type EncoderModel,
  type EncodeResult,
  type EncodeStep,
  type MediaFacts,
} from '../encoder/encode-request.ts';
import type { EncoderCache } from '../encoder/encoder-cache.ts';
import type { MonitoredEncoders } from '../encoder/monitored-encoders.ts';
import type { PreparePool } from '../features/pool.ts';
import { endingOf, isEnding } from '../output/ending.ts';
import type { CaptionRequest, MediaReport, Stage } from '../output/events.ts';
import { Stopwatch } from '../output/timings.ts';
import type { Prompt } from '../prompt/types.ts';
import type { SubmitOptions } from './captioner.ts';
import { compressVideo } from './compress.ts';
import { generate, type GenerateInput, type GenerateModel } from './generate.ts';
import { estimateOf, planRequest, promptOf, type PlanningModel, type ProbeCache, type RequestPlan } from './plan.ts';

/** An open model, and what the requests of one captioner share. */
export interface CaptionerContext extends PlanningModel, GenerateModel {
  readonly config: PlanningModel['config'];
  readonly tokenizer: PlanningModel['tokenizer'];
  readonly stopIds: PlanningModel['stopIds'];
  readonly pool: PreparePool;
  /** batch requests stand back while others wait for their first token */
  readonly foreground: Foreground;
  readonly decodeTimeoutSeconds: number;
  readonly towers: MonitoredEncoders;
  readonly probes: ProbeCache;
  /** content hashes of files; undefined: nothing is cached, so no hash is needed */
  readonly hashes: FileMemo<string> | undefined;
  readonly encodings: EncoderCache;
  /** segments of one request that are captioned at the same time */
  readonly segmentsAtOnce: number;
}

/**
 * Serves one request from its plan to its ending. Never rejects: every fault is an ending, and
 * exactly one ending is reported.
 * Resolves when nothing of the request is left.
 * @param run the pipeline, or one that runs it for each segment
 */
export async function serveRequest(
  request: CaptionRequest,
  context: CaptionerContext,
  { signal, onEvent, admit }: SubmitOptions,
  run: typeof runPipeline = runPipeline,
): Promise<void> {
  const state = { ended: false };
  const report: SubmitOptions['onEvent'] = (event) => {
    if (state.ended) return;
    state.ended = isEnding(event);
    onEvent(event);
  };
  try {
    await run(request, context, { signal, onEvent: report, admit });
    if (!state.ended) throw new Error('A caption stopped without an ending. This is a bug.');
  } catch (thrown) {
    report(endingOf(thrown, signal));
  }
}

/** The options of a request, and what a segment needs to know of its file. */
export interface PipelineOptions extends SubmitOptions {
  /** media tokens of the whole file, where the request is one of its segments */
  readonly fileTokens?: number | undefined;
}

/**
 * One caption of one file or part. Reports everything but a failure, which it throws. Batch requests stand back while
 * others wait for their first token.
 * @throws AvocadoError
 */
export async function runPipeline(
  request: CaptionRequest,
  context: CaptionerContext,
  options: PipelineOptions,
): Promise<void> {
  const isBatch = request.priority === 'batch';
  if (isBatch) await context.foreground.free(options.signal);
  const leave = isBatch ? (): void => undefined : context.foreground.enter();
  try {
    await captionFile(request, context, options, leave);
  } finally {
    leave();
  }
}

/** @param leave to be called when batch requests may go on */
async function captionFile(
  request: CaptionRequest,
  context: CaptionerContext,
  { signal, onEvent, admit, fileTokens }: PipelineOptions,
  leave: () => void,
): Promise<void> {
  const watch = new Stopwatch();
  const stage = (name: Stage, done: number, total: number): void => {
    onEvent({ type: 'stage', stage: name, done, total });
  };
  if (signal.aborted) throw abortError(signal);
  stage('probe', 0, 1);
  const identity = await fileIdentity(request.path);
  const plan = await watch.time('probe', planRequest(request, context, context.probes, signal));
  if (plan.refusal !== undefined) throw plan.refusal;
  if (admit !== undefined) await withSignal(admit(estimateOf(plan, context.context)), signal);

  const hash = await watch.time('probe', hashOf(request, context, signal));
  const isBatch = request.priority === 'batch';
  if (isBatch) await context.foreground.free(signal);
  const fileBytes = fileTokens && fileTokens * context.config.text.hiddenSize * FLOAT_BYTES[context.towers.dtype];
  const encode = { ...encodeRequest(plan.media, isBatch ? behind(context) : context, hash, identity), fileBytes };
  // What a batch request encodes already may not wait for who waits for it.
  if (context.encodings.isRunning(encode.key)) leave();
  let prompt: Prompt | undefined;
  let media: MediaReport | undefined;
  const onStep = (step: EncodeStep): void => {
    if (step.type === 'decoding') stage('decode', step.done, step.total);
    else if (step.type === 'encoding') stage('encode', step.done, step.total);
    else {
      prompt = watch.timeSync('tokenize', () => promptOf(plan, step.facts, context));
      media = mediaReport(step.facts, prompt);
      onEvent({ type: 'media', media, profile: plan.profileLabel, promptTokens: prompt.counts });
    }
  };
  const encoded: EncodeResult = await context.encodings.encode(encode, onStep, signal);
  watch.add(encoded.seconds);
  if (prompt === undefined || media === undefined)
    throw new Error('Media were encoded but not decoded. This is a bug.');
  const whole = { request, plan, prompt, media, embeds: encoded.media.embeds, mediaKey: encode.key };
  const { compress } = request;
  const input = compress === undefined ? whole : { ...whole, ...(await compressed(whole, compress, encoded, context)) };
  await generate(input, context, watch, signal, (event) => {
    if (event.type === 'text-delta') leave();
    onEvent(event);
  });
}

/** What encodes the media of batch requests: decoders that yield, and towers that stand back between two runs. */
function behind(context: CaptionerContext): EncoderModel {
  const { pool, towers, foreground } = context;
  return {
    ...context,
    pool: { prepare: pool.prepareBehind, patches: (...cut) => pool.patches(...cut) },
    towers: {
      dtype: towers.dtype,
      parallel: towers.parallel,
      encodeVision: async (patches, steps, gridH, gridW, options) => {
        await foreground.free(options?.signal);
        return await towers.encodeVision(patches, steps, gridH, gridW, options);
      },
      encodeAudio: async (mel, frames, options) => {
        await foreground.free(options?.signal);
        return await towers.encodeAudio(mel, frames, options);
      },
    },
  };
}

/** The input with fewer video tokens; its report says how many there were. */
async function compressed(
  { prompt, embeds, media }: Pick<GenerateInput, 'prompt' | 'embeds' | 'media'>,
  share: number,
  { media: { facts } }: EncodeResult,
  { config, towers }: Pick<CaptionerContext, 'config' | 'towers'>,
): Promise<Pick<GenerateInput, 'prompt' | 'embeds' | 'media'>> {
  const tokens = mediaTokens(facts.plan, facts.audio?.tokens);
  const less = await compressVideo({ prompt, embeds, dtype: towers.dtype, media: tokens }, share, config);
  if (less.video === undefined || media.video === undefined) return { prompt, embeds, media };
  const { kept, of } = less.video;
  return { ...less, media: { ...media, video: { ...media.video, tokens: kept, tokensBefore: of } } };
}

/**
 * The content hash from the request, or by reading the file; undefined where nothing is cached or it cannot be read.
 */
async function hashOf(
  { path, contentHash }: CaptionRequest,
  { hashes }: CaptionerContext,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (hashes === undefined) return undefined;
  if (contentHash !== undefined) return contentHash;
  try {
    return await hashes.get(path, signal);
  } catch {
    if (signal.aborted) throw abortError(signal);
    return undefined; // the decoder reports better what is wrong with the file
  }
}

/** What was seen and heard: sound is never dropped without the answer saying so. */
function mediaReport({ plan, audio, warnings }: MediaFacts, { counts }: Prompt): MediaReport {
  const { probe, video } = plan;
  const heard = counts.audio > 0;
  return {
    kind: video?.kind ?? 'audio',
    durationSeconds: probe.durationSeconds,
    part: probe.part && { start: probe.part.start, end: probe.part.end },
    video: videoReport(plan, counts.video + counts.image),
    audio: {
      present: probe.audio !== undefined,
      used: heard,
      seconds: heard && audio !== undefined ? audio.samples / 16_000 : 0,
      tokens: counts.audio,
      codec: probe.audio?.codec,
    },
    warnings,
  };
}

function videoReport({ probe, video }: RequestPlan['media'], tokens: number): MediaReport['video'] {
  if (probe.video === undefined || video === undefined) return undefined;
  return {
    frames: video.frameIndices.length,
    sampleFps: video.sampleFps,
    sourceFps: probe.video.averageFps,
    width: video.final.width,
    height: video.final.height,
    sourceWidth: probe.video.width,
    sourceHeight: probe.video.height,
    codec: probe.video.codec,
    tokens,
  };
}
