import type { TokenDetail, TokenWithAlternatives } from '../output/events.ts';

interface WireToken {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: readonly number[];
}

export interface WireLogprobs {
  readonly content: readonly (WireToken & { readonly top_logprobs: readonly WireToken[] })[];
  readonly refusal: null;
}

/** A piece of a character reads as U+FFFD; its bytes say what it is. */
const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

function wireToken({ bytes, logprob }: TokenDetail): WireToken {
  return { token: utf8.decode(Uint8Array.from(bytes)), logprob, bytes };
}

/** The end of a turn and its like: spelled so in every Qwen vocabulary, and no part of the text. */
const CONTROL = /^<\|\w+\|>$/;

/** @returns OpenAI's `logprobs` of a choice, whose tokens together are its text; null where they were not asked for */
export function wireLogprobs(tokens: readonly TokenWithAlternatives[] | undefined): WireLogprobs | null {
  if (tokens === undefined) return null;
  const content = tokens.map((token) => ({ ...wireToken(token), top_logprobs: token.top.map(wireToken) }));
  return { content: content.filter(({ token }) => !CONTROL.test(token)), refusal: null };
}
