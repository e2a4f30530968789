// The wire face of a caption: snake_case, the same object from the command line and from the HTTP door.
import type { AvocadoError } from '../errors.ts';
import type { CaptionEnd, MediaReport, Usage } from './events.ts';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined };

function snakeKey(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Plain data with its keys in snake_case, at every depth. Values are left alone; undefined ones disappear in JSON. */
export function snakeCase(value: unknown): Json {
  if (Array.isArray(value)) return value.map(snakeCase);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [snakeKey(key), inner === undefined ? undefined : snakeCase(inner)]));
  }
  return value as Json;
}

/** Token counts under OpenAI's `usage` names; each kind of prompt token has its own. */
export function tokenDetails(counts: Usage['promptTokensByModality']): Json {
  return { text_tokens: counts.text, video_tokens: counts.video, audio_tokens: counts.audio, image_tokens: counts.image };
}

export function usageAnswer(usage: Usage): Json {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.totalTokens,
    prompt_tokens_details: tokenDetails(usage.promptTokensByModality),
  };
}

export function mediaAnswer(media: MediaReport): Json {
  return snakeCase(media);
}

/** `caption-end` as the answer a client reads; token ids and log-probabilities only when asked for. */
export function captionAnswer(end: CaptionEnd, model: string, options: { readonly tokenIds: boolean }): Record<string, Json> {
  return {
    caption: end.caption,
    finish_reason: end.finishReason,
    usage: usageAnswer(end.usage),
    media: mediaAnswer(end.media),
    profile: end.profile,
    timings: snakeCase(end.timings),
    model,
    ...(options.tokenIds ? { token_ids: end.tokenIds, logprobs: end.logprobs } : {}),
  };
}

/** An error as plain JSON: its code, its sentence, and the field or flag at fault. */
export function errorAnswer(error: Pick<AvocadoError, 'code' | 'message' | 'param'>): Record<string, Json> {
  return { error: { code: error.code, message: error.message, param: error.param ?? null } };
}
