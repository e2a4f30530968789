import type { Usage } from '../output/events.ts';

export interface WireUsage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: Readonly<Record<string, number>>;
  readonly completion_tokens_details: Readonly<Record<string, number>>;
}

/** Nothing here reasons, speaks or predicts; clients read the zeros. */
const COMPLETION_DETAILS = {
  reasoning_tokens: 0,
  audio_tokens: 0,
  accepted_prediction_tokens: 0,
  rejected_prediction_tokens: 0,
} as const;

/** OpenAI's usage, with a count of the prompt for each kind of token. */
export function wireUsage({
  promptTokens,
  completionTokens,
  totalTokens,
  cachedTokens,
  promptTokensByModality: by,
}: Usage): WireUsage {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: totalTokens,
    prompt_tokens_details: {
      cached_tokens: cachedTokens,
      audio_tokens: by.audio,
      image_tokens: by.image,
      text_tokens: by.text,
      video_tokens: by.video,
    },
    completion_tokens_details: COMPLETION_DETAILS,
  };
}
