import { AvocadoError } from '../base/errors.ts';
import type { MediaPlan, MediaProbe } from '../media/types.ts';
import { planMedia } from '../media/plan.ts';
import { probeMedia } from '../media/probe.ts';
import { resolveProfile, type PreprocessProfile } from '../media/profile.ts';
import type { OpenModel } from './open-model.ts';
import { MOST_TOKENS_PER_RUN } from '../model/graphs/decoder.ts';
import { buildPrompt, checkBudget } from '../prompt/build-prompt.ts';
import { AVOCADO_PROMPTS, QWEN_SYSTEM_PROMPT } from '../prompt/prompts.ts';
import type { MediaTokens, Prompt, TokenCounts } from '../prompt/types.ts';
import type { CaptionRequest } from '../output/events.ts';

/** AVoCaDO's `thinker_max_new_tokens` (reference-model 8). */
const DEFAULT_MAX_TOKENS = 2048;

/** A request that has been found good: what will be read, what will be asked, and that it fits. */
export interface PlannedRequest {
  readonly plan: MediaPlan;
  readonly systemPrompt: string;
  readonly userText: string;
  /** exact but for the sound, whose length is the container's word */
  readonly draft: Prompt;
  readonly maxTokens: number;
  readonly profileLabel: string;
}

/** What of the model a plan needs; a dry run has it without loading a single weight. */
export type PlanningModel = Pick<
  OpenModel,
  'package' | 'config' | 'context' | 'tokenizer' | 'template' | 'preprocessor'
>;

export function profileLabel(profile: PreprocessProfile): string {
  return `${profile.name}@${profile.version}`;
}

/** The user's own words, or one of the model's numbered prompts (AVoCaDO's seven unless the model brings its own). */
function userText(request: CaptionRequest, model: PlanningModel): string {
  if (request.prompt !== undefined) {
    if (request.prompt.trim() === '')
      throw new AvocadoError('bad_request', 'prompt is empty: write what to describe, or leave it out.', {
        param: 'prompt',
      });
    return request.prompt;
  }
  const prompts = model.package.prompts ?? AVOCADO_PROMPTS;
  const text = prompts[(request.promptId ?? 1) - 1];
  if (text !== undefined) return text;
  throw new AvocadoError(
    'bad_request',
    `prompt_id must be 1 to ${prompts.length} for this model, not ${request.promptId ?? 1}.`,
    { param: 'prompt_id' },
  );
}

/** Media of a plan or of prepared media in the numbers the prompt needs. */
export function mediaTokens(plan: MediaPlan, audioTokens: number | undefined): MediaTokens {
  const audio = audioTokens === undefined || audioTokens === 0 ? undefined : audioTokens;
  if (plan.video?.kind === 'image') return { kind: 'image', gridThw: plan.video.gridThw };
  if (plan.video !== undefined)
    return { kind: 'video', gridThw: plan.video.gridThw, secondPerGrid: plan.video.secondPerGrid, audioTokens: audio };
  if (audio !== undefined) return { kind: 'audio', audioTokens: audio };
  throw new AvocadoError(
    'media_too_short',
    'There is nothing to caption: no picture, and less than 30 ms of sound. Give a longer file.',
  );
}

export function promptOf(
  planned: Pick<PlannedRequest, 'systemPrompt' | 'userText'>,
  media: MediaTokens,
  model: PlanningModel,
): Prompt {
  const { tokenizer, template, config } = model;
  return buildPrompt({
    tokenizer,
    template,
    config,
    systemPrompt: planned.systemPrompt,
    userText: planned.userText,
    media,
  });
}

/**
 * Refuses positions beyond the rotary tables: one row out of range would fail a decode step, which is everybody's. Only a low
 * processor_fps, which spreads the steps in time, or a context longer than the model's gets there.
 */
export function checkPositions(
  prompt: Prompt,
  maxTokens: number,
  { config, context }: Pick<PlanningModel, 'config' | 'context'>,
): void {
  const rows = Math.max(MOST_TOKENS_PER_RUN, config.text.maxPositions);
  const answer = Math.min(maxTokens, context - prompt.ids.length);
  const inside = prompt.positions.every((position) => position >= 0 && position < rows);
  if (inside && prompt.ids.length + prompt.ropeDelta + answer <= rows) return;
  throw new AvocadoError(
    'context_length_exceeded',
    `The prompt spans more time than the model's ${rows} positions. Raise processor_fps, or take a shorter clip.`,
    { param: 'processor_fps' },
  );
}

/** Tokens the caption may have: what was asked for must fit, the default shrinks to what is left. */
function resolveMaxTokens(request: CaptionRequest, model: PlanningModel, counts: TokenCounts): number {
  checkBudget(counts, request.maxTokens ?? 1, model.context);
  return request.maxTokens ?? Math.min(model.package.maxTokens ?? DEFAULT_MAX_TOKENS, model.context - counts.total);
}

export interface PlanOptions {
  /** false for a dry run, which reports the budget instead of refusing */
  readonly enforceBudget: boolean;
  /** what a file holds; default: ffprobe, every time */
  readonly probe?: (() => Promise<MediaProbe>) | undefined;
}

/**
 * Decides everything that can be decided before a frame is decoded.
 * @throws AvocadoError for bad media, a bad field, or a prompt that does not fit the context
 */
export async function planRequest(
  request: CaptionRequest,
  model: PlanningModel,
  signal: AbortSignal | undefined,
  options: PlanOptions,
): Promise<PlannedRequest> {
  const text = userText(request, model);
  const profile = resolveProfile(request.profileName, request.profile, model.package.profile);
  const probe = await (options.probe?.() ?? probeMedia(request.path, { signal }));
  const plan = planMedia(probe, profile, {
    useAudio: request.useAudio,
    patchSize: model.config.vision.patchSize,
    mergeSize: model.config.vision.mergeSize,
    temporalPatchSize: model.config.vision.temporalPatchSize,
    imageLimits: model.preprocessor,
  });
  const systemPrompt = request.systemPrompt ?? model.package.systemPrompt ?? QWEN_SYSTEM_PROMPT;
  const planned = { plan, userText: text, systemPrompt, profileLabel: profileLabel(profile) };
  const draft = promptOf(planned, mediaTokens(plan, plan.audio?.estimatedTokens), model);
  if (options.enforceBudget) return { ...planned, draft, maxTokens: resolveMaxTokens(request, model, draft.counts) };
  return { ...planned, draft, maxTokens: request.maxTokens ?? model.package.maxTokens ?? DEFAULT_MAX_TOKENS };
}
