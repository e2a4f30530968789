// A caption as JSON: snake_case, the same object from the command line and over HTTP.
import type { AvocadoError } from '../base/errors.ts';
import { clockTime } from './subtitles.ts';
import type {
  CaptionEnd,
  MediaReport,
  Sample,
  SegmentCaption,
  TokenDetail,
  TokenWithAlternatives,
  Usage,
} from './events.ts';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined };

function snakeKey(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Plain data with its keys in snake_case, at every depth. Values are left alone; undefined ones disappear in JSON. */
export function snakeCase(value: unknown): Json {
  if (Array.isArray(value)) return value.map(snakeCase);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(
      Object.entries(value).map(([key, inner]) => [snakeKey(key), inner === undefined ? undefined : snakeCase(inner)]),
    );
  }
  return value as Json;
}

/** Token counts under OpenAI's `usage` names; each kind of prompt token has its own. */
export function tokenDetails(counts: Usage['promptTokensByModality']): { readonly [key: string]: Json } {
  return {
    text_tokens: counts.text,
    video_tokens: counts.video,
    audio_tokens: counts.audio,
    image_tokens: counts.image,
  };
}

export function usageAnswer(usage: Usage): Json {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.totalTokens,
    prompt_tokens_details: { ...tokenDetails(usage.promptTokensByModality), cached_tokens: usage.cachedTokens },
  };
}

export function mediaAnswer(media: MediaReport): Json {
  return snakeCase(media);
}

/**
 * One token in the shape of an entry of OpenAI's `logprobs.content`. Half a character shows as
 * U+FFFD; its bytes are exact.
 */
export function tokenAnswer({ top, ...token }: TokenWithAlternatives): { readonly [key: string]: Json } {
  const plain = ({ logprob, bytes }: TokenDetail): { readonly [key: string]: Json } => ({
    token: new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(bytes)),
    logprob,
    bytes,
  });
  return { ...plain(token), top_logprobs: top.map(plain) };
}

/**
 * Tokens of a caption or of a piece of it: `token_ids` and `token_logprobs`, plain arrays, for who asked for
 * `token_ids`; `logprobs`, OpenAI's list of tokens with alternatives, for who asked for `logprobs`.
 */
export function tokensAnswer(
  sample: Pick<Sample, 'tokenIds' | 'logprobs' | 'tokens'>,
  options: { readonly tokenIds: boolean },
): Record<string, Json> {
  return {
    ...(options.tokenIds ? { token_ids: sample.tokenIds, token_logprobs: sample.logprobs } : {}),
    ...(sample.tokens === undefined ? {} : { logprobs: sample.tokens.map(tokenAnswer) }),
  };
}

/**
 * `caption-end` as the answer a client reads. Of several captions, `captions` lists all; what
 * stands beside it is the first.
 * Tokens as in tokensAnswer, only when asked for.
 */
export function captionAnswer(
  end: CaptionEnd,
  model: string,
  options: { readonly tokenIds: boolean },
): Record<string, Json> {
  const all: readonly Sample[] = [end, ...end.others];
  const told = (sample: Sample): Record<string, Json> => ({
    caption: sample.caption,
    finish_reason: sample.finishReason,
  });
  return {
    ...told(end),
    ...(all.length > 1
      ? { captions: all.map((sample, index) => ({ index, ...told(sample), ...tokensAnswer(sample, options) })) }
      : {}),
    ...(end.segments === undefined ? {} : { segments: end.segments.map(segmentAnswer) }),
    ...(end.merge === undefined ? {} : { merge: snakeCase(end.merge) }),
    usage: usageAnswer(end.usage),
    media: mediaAnswer(end.media),
    profile: end.profile,
    timings: snakeCase(end.timings),
    model,
    ...tokensAnswer(end, options),
  };
}

/** To the microsecond: no container is finer, and sums of binary fractions show. */
function seconds(value: number): number {
  return Math.round(value * 1e6) / 1e6;
}

/** The times of a segment, as numbers and as clocks show them. */
export function segmentTimes({
  index,
  start,
  end,
}: Pick<SegmentCaption, 'index' | 'start' | 'end'>): Record<string, Json> {
  return {
    index,
    start: seconds(start),
    end: seconds(end),
    start_time: clockTime(start),
    end_time: clockTime(end),
  };
}

export function segmentAnswer(segment: SegmentCaption): Record<string, Json> {
  const { usage, timedBy, details, scenes } = segment;
  return {
    ...segmentTimes(segment),
    caption: segment.caption,
    finish_reason: segment.finishReason,
    ...(usage === undefined ? {} : { usage: usageAnswer(usage) }),
    ...(timedBy === undefined ? {} : { timed_by: timedBy }),
    ...(details === undefined ? {} : { details }),
    ...(scenes === undefined ? {} : { scenes: scenes.map(segmentAnswer) }),
    ...(segment.error === undefined ? {} : { error: { ...segment.error } }),
  };
}

/** An error as plain JSON: its code, its sentence, and the field or flag at fault. */
export function errorAnswer(error: Pick<AvocadoError, 'code' | 'message' | 'param'>): Record<string, Json> {
  return { error: { code: error.code, message: error.message, param: error.param ?? null } };
}
