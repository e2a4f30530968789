import type { CaptionEnd, FinishReason, Sample } from '../output/events.ts';
import type { CompletionHead } from './completion-head.ts';
import { wireLogprobs, type WireLogprobs } from './logprobs.ts';
import { wireUsage, type WireUsage } from './usage.ts';

interface Choice {
  readonly index: number;
  readonly message: { readonly role: 'assistant'; readonly content: string; readonly refusal: null };
  readonly logprobs: WireLogprobs | null;
  readonly finish_reason: FinishReason;
}

export interface ChatCompletion extends CompletionHead {
  readonly object: 'chat.completion';
  readonly choices: readonly Choice[];
  readonly usage: WireUsage;
  readonly system_fingerprint: string;
  /** what OpenAI has no place for; its clients pass it on unread */
  readonly avocado: unknown;
}

function choiceOf({ caption, finishReason, tokens }: Sample, index: number): Choice {
  return {
    index,
    message: { role: 'assistant', content: caption, refusal: null },
    logprobs: wireLogprobs(tokens),
    finish_reason: finishReason,
  };
}

/** A finished caption as OpenAI's answer in one piece; every sample is a choice. */
export function chatCompletion(
  end: CaptionEnd,
  head: CompletionHead,
  fingerprint: string,
  extras: unknown,
): ChatCompletion {
  return {
    ...head,
    object: 'chat.completion',
    choices: [end, ...end.others].map(choiceOf),
    usage: wireUsage(end.usage),
    system_fingerprint: fingerprint,
    avocado: extras,
  };
}
