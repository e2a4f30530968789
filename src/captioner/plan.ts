// Planning: everything that can be decided about a request before a frame is decoded.
import { extname } from 'node:path';
import { AvocadoError } from '../base/errors.ts';
import { FileMemo } from '../base/file-memo.ts';
import { RecentMap } from '../base/recent-map.ts';
import { mediaTokens, type MediaFacts } from '../encoder/encode-request.ts';
import { partOf } from '../media/part.ts';
import { planMedia } from '../media/plan.ts';
import { probeMedia, totalPixels } from '../media/probe.ts';
import { profileLabel, resolveProfile } from '../media/profile.ts';
import type { MediaPlan, MediaProbe } from '../media/types.ts';
import type { ModelConfig } from '../model/checkpoint/config-types.ts';
import type { PreprocessorConfig } from '../model/checkpoint/config.ts';
import type { ModelPackage } from '../model/checkpoint/model-package.ts';
import { MOST_TOKENS_PER_RUN } from '../model/graphs/decoder-attention.ts';
import type { CaptionRequest, SamplingParams } from '../output/events.ts';
import type { OutputFormName } from '../settings/presets.ts';
import { buildPrompt, checkBudget, countTokens, promptSpan } from '../prompt/build-prompt.ts';
import type { ChatTemplate } from '../prompt/chat-template.ts';
import { encodeTurn, type EncodedTurn } from '../prompt/encode-turn.ts';
import type { Tokenizer } from '../prompt/tokenizer.ts';
import type { Prompt, TokenCounts } from '../prompt/types.ts';
import type { Estimate } from './captioner.ts';

/** A probe takes a few hundred bytes. */
const PROBES_KEPT = 512;
/** Three hours have a few megabytes of times. */
const TIMED_PROBES_KEPT = 4;

/** What of a model a plan needs: its small files, no weights. */
export interface PlanningModel {
  readonly package: ModelPackage;
  readonly config: ModelConfig;
  readonly preprocessor: PreprocessorConfig;
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  readonly stopIds: readonly number[];
  /** most tokens of prompt and caption together */
  readonly context: number;
}

export interface RequestPlan {
  readonly media: MediaPlan;
  /** the chat text around the media, tokenised */
  readonly turn: EncodedTurn;
  /** exact but for the sound, whose length is taken from the container */
  readonly counts: TokenCounts;
  /** most tokens the caption may have */
  readonly maxTokens: number;
  readonly profileLabel: string;
  /** the request's, with the model's own penalty where it names none */
  readonly sampling: SamplingParams;
  /** how the model's text is read */
  readonly output: OutputFormName;
  /** why the request does not fit the context; undefined: it fits */
  readonly refusal: AvocadoError | undefined;
}

/** As probeMedia, perhaps in another thread. */
type Probe = (path: string, options: { readonly keepsTimes: boolean }, signal?: AbortSignal) => Promise<MediaProbe>;

/** ffprobe's results by path and by content hash, since clients send the same file again. */
export class ProbeCache {
  readonly #plain: ProbeMemo;
  /** of files that are captioned in parts: a time for each frame */
  readonly #timed: ProbeMemo;

  constructor(probe: Probe = (path, options, signal) => probeMedia(path, { ...options, signal })) {
    this.#plain = new ProbeMemo((path, signal) => probe(path, { keepsTimes: false }, signal), PROBES_KEPT);
    this.#timed = new ProbeMemo((path, signal) => probe(path, { keepsTimes: true }, signal), TIMED_PROBES_KEPT);
  }

  /**
   * What is known of the file, or of the part of it that is asked for.
   * @throws AvocadoError as probeMedia and partOf; failures are not kept
   */
  async get(file: Pick<CaptionRequest, 'path' | 'contentHash' | 'part'>, signal?: AbortSignal): Promise<MediaProbe> {
    return file.part === undefined
      ? await this.#plain.get(file, signal)
      : partOf(await this.#timed.get(file, signal), file.part);
  }

  /** Of the whole file, with the times of its frames. @throws AvocadoError as probeMedia */
  async getTimed(file: Pick<CaptionRequest, 'path' | 'contentHash'>, signal?: AbortSignal): Promise<MediaProbe> {
    return await this.#timed.get(file, signal);
  }
}

class ProbeMemo {
  readonly #byPath: FileMemo<MediaProbe>;
  readonly #byContent: RecentMap<string, MediaProbe>;

  constructor(probe: (path: string, signal: AbortSignal | undefined) => Promise<MediaProbe>, capacity: number) {
    this.#byPath = new FileMemo(probe, capacity);
    this.#byContent = new RecentMap(capacity);
  }

  async get(
    { path, contentHash }: Pick<CaptionRequest, 'path' | 'contentHash'>,
    signal?: AbortSignal,
  ): Promise<MediaProbe> {
    // ffprobe's guess of a format depends on the file name extension too.
    const key = contentHash === undefined ? undefined : contentHash + extname(path);
    const known = key === undefined ? undefined : this.#byContent.get(key);
    const probe = known === undefined ? await this.#byPath.get(path, signal) : { ...known, path };
    if (key !== undefined) this.#byContent.set(key, probe);
    return probe;
  }
}

/** The request's own prompt, or one of the model's numbered prompts. */
function userText(request: CaptionRequest, model: PlanningModel): string {
  const text = askedText(request, model);
  if (request.before === undefined) return text;
  return `${text}\n\nThis is a part of a longer video. What happened just before it: ${request.before}`;
}

function askedText(request: CaptionRequest, model: PlanningModel): string {
  if (request.prompt !== undefined) {
    if (request.prompt.trim() !== '') return request.prompt;
    const advice = 'write what to describe, or leave it out.';
    throw new AvocadoError('bad_request', `prompt is empty: ${advice}`, { param: 'prompt' });
  }
  const { prompts } = model.package;
  const id = request.promptId ?? 1;
  const text = prompts[id - 1];
  if (text !== undefined) return text;
  const range = `1 to ${prompts.length} for this model`;
  throw new AvocadoError('bad_request', `prompt_id must be ${range}, not ${id}.`, { param: 'prompt_id' });
}

/**
 * Plans a request: probe, frames, sizes, token counts, budget. Nothing is allocated or looped over in proportion to a
 * size that the budget has not bounded yet.
 * @throws AvocadoError for bad media or a bad field; a prompt that does not fit is `refusal`, not thrown
 */
export async function planRequest(
  request: CaptionRequest,
  model: PlanningModel,
  probes: ProbeCache,
  signal?: AbortSignal,
): Promise<RequestPlan> {
  const text = userText(request, model);
  checkStopIds(request, model);
  const profile = resolveProfile(request.profileName, request.profile, model.package.profile);
  const probe = await probes.get(request, signal);
  const { patchSize, mergeSize, temporalPatchSize } = model.config.vision;
  const geometry = { patchSize, mergeSize, temporalPatchSize, imageLimits: model.preprocessor };
  const media = planMedia(probe, profile, { useAudio: request.useAudio, ...geometry });
  const tokens = mediaTokens(media, media.audio?.estimatedTokens);
  const { textFirst, output, repetitionPenalty: usualPenalty } = model.package;
  const systemPrompt = request.systemPrompt ?? model.package.systemPrompt ?? undefined;
  const conversation = { systemPrompt, userText: text, media: tokens.kind, textFirst };
  const turn = encodeTurn(model.tokenizer, model.template, model.config.tokens, conversation, model.context);
  const counts = countTokens(turn, tokens, model.config);
  const maxTokens = maxTokensOf(request, model, counts);
  const refusal = refusalOf(() => {
    checkEnlarged(media, request.profile.minPixels, model);
    checkBudget(counts, request.maxTokens ?? Math.max(1, request.minTokens), model.context);
    checkSpan(promptSpan(turn, tokens, model.config), counts.total, maxTokens, model);
  });
  const { repetitionPenalty = usualPenalty } = request.sampling;
  const sampling = { ...request.sampling, repetitionPenalty };
  return { media, turn, counts, maxTokens, profileLabel: profileLabel(profile), sampling, output, refusal };
}

/** @throws AvocadoError `bad_request` for an id that is no token of the model */
function checkStopIds({ stopTokenIds }: CaptionRequest, { config: { text } }: PlanningModel): void {
  const unknown = stopTokenIds.find((id) => id >= text.vocabSize);
  if (unknown === undefined) return;
  const range = `ids from 0 to ${text.vocabSize - 1} for this model`;
  throw new AvocadoError('bad_request', `stop_token_ids must be ${range}, not ${unknown}.`, {
    param: 'stop_token_ids',
  });
}

/**
 * Refuses a min_pixels that enlarges pictures beyond what the whole context could hold, even where the second resize
 * would make them small again: the first one would take seconds a picture.
 * @throws AvocadoError `context_length_exceeded`
 */
function checkEnlarged(
  { video, probe }: MediaPlan,
  minPixels: number | undefined,
  { config, context }: Pick<PlanningModel, 'config' | 'context'>,
): void {
  if (minPixels === undefined || video === undefined || probe.video === undefined) return;
  const { width, height } = video.stageA;
  const { patchSize, mergeSize } = config.vision;
  const tokens = (video.gridThw[0] * width * height) / (patchSize * mergeSize) ** 2;
  if (width * height <= probe.video.width * probe.video.height || tokens <= context) return;
  const size = `min_pixels enlarges the pictures to ${width}x${height}, which is ${tokens} tokens`;
  const message = `${size}: over the limit of ${context}. Lower it or leave it out.`;
  throw new AvocadoError('context_length_exceeded', message, { param: 'min_pixels' });
}

function refusalOf(check: () => void): AvocadoError | undefined {
  try {
    check();
    return undefined;
  } catch (thrown) {
    if (thrown instanceof AvocadoError) return thrown;
    throw thrown;
  }
}

/** A number that was asked for must fit; the default shrinks to what is left, and is never below min_tokens. */
function maxTokensOf({ maxTokens, minTokens }: CaptionRequest, model: PlanningModel, { total }: TokenCounts): number {
  const left = Math.max(1, model.context - total);
  return maxTokens ?? Math.min(Math.max(model.package.maxTokens, minTokens), left);
}

/**
 * Refuses positions beyond the rotary tables: one row out of range would fail the decode step of every running request.
 * Only a low processor_fps, which spreads the steps in time, or a context longer than the model's gets there.
 * @param span positions of the prompt, as promptSpan
 * @throws AvocadoError `context_length_exceeded`
 */
export function checkSpan(
  span: number,
  promptTokens: number,
  maxTokens: number,
  {
    config,
    context,
  }: { readonly config: { readonly text: { readonly maxPositions: number } }; readonly context: number },
): void {
  const rows = Math.max(MOST_TOKENS_PER_RUN, config.text.maxPositions);
  if (span + Math.min(maxTokens, context - promptTokens) <= rows) return;
  const advice = 'Raise processor_fps, or take a shorter clip.';
  const message = `The prompt spans more time than the model's ${rows} positions. ${advice}`;
  throw new AvocadoError('context_length_exceeded', message, { param: 'processor_fps' });
}

/**
 * The prompt of decoded media, whose sound may be longer than its container said.
 * @throws AvocadoError `context_length_exceeded`, `media_too_short`
 */
export function promptOf({ turn, maxTokens }: RequestPlan, facts: MediaFacts, model: PlanningModel): Prompt {
  const tokens = mediaTokens(facts.plan, facts.audio?.tokens);
  const counts = countTokens(turn, tokens, model.config);
  checkBudget(counts, 1, model.context);
  const prompt = buildPrompt(turn, tokens, model.config);
  checkSpan(counts.total + prompt.ropeDelta, counts.total, maxTokens, model);
  return prompt;
}

/** What a caption would take. */
export function estimateOf(
  { media, counts, maxTokens, profileLabel: profile, refusal }: RequestPlan,
  context: number,
): Estimate {
  const { video, audio, probe } = media;
  const used = counts.audio > 0;
  return {
    kind: video?.kind ?? 'audio',
    durationSeconds: probe.durationSeconds,
    decodeMegapixels: probe.video === undefined ? 0 : totalPixels(probe.video) / 1e6,
    packets: probe.packets ?? 0,
    video: video && {
      frames: video.frameIndices.length,
      sampleFps: video.sampleFps,
      width: video.final.width,
      height: video.final.height,
      tokens: counts.video + counts.image,
    },
    audio: {
      present: probe.audio !== undefined,
      used,
      seconds: used ? (audio?.durationSeconds ?? 0) : 0,
      tokens: counts.audio,
    },
    promptTokens: counts,
    maxTokens: Math.max(0, Math.min(maxTokens, context - counts.total)),
    context,
    fits: refusal === undefined,
    profile,
  };
}
