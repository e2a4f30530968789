// A caption as an OpenAI chat completion: in one piece, or as chunks of a stream. Pure: the server decides when to send
// a chunk.
import type {
  CaptionEnd,
  FinishReason,
  Sample,
  TextDelta,
  TokenDetail,
  TokenWithAlternatives,
  Usage,
} from '../output/events.ts';

/** Fields that every answer and every chunk of one completion have in common. */
export interface CompletionHead {
  readonly id: string;
  /** seconds since 1970 */
  readonly created: number;
  readonly model: string;
}

interface ServedModel {
  readonly name: string;
  readonly precision: string;
}

/** @param requestId the value of the header x-request-id */
export function completionHead(requestId: string, model: ServedModel, nowMs: number): CompletionHead {
  return { id: `chatcmpl-${requestId}`, created: Math.floor(nowMs / 1000), model: model.name };
}

/** Two answers with the same fingerprint come from the same weights, precision and pre-processing. */
export function systemFingerprint({ name, precision }: ServedModel, profile: string): string {
  return `${name}.${precision}.${profile}`;
}

interface WireUsage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: Readonly<Record<string, number>>;
  readonly completion_tokens_details: Readonly<Record<string, number>>;
}

/** OpenAI's clients read these counts. A captioner never reasons, speaks or predicts, so all are zero. */
const COMPLETION_DETAILS = {
  reasoning_tokens: 0,
  audio_tokens: 0,
  accepted_prediction_tokens: 0,
  rejected_prediction_tokens: 0,
} as const;

/** OpenAI's usage; the prompt is counted by modality. */
function wireUsage({
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

interface WireToken {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: readonly number[];
}

interface WireLogprobs {
  readonly content: readonly (WireToken & { readonly top_logprobs: readonly WireToken[] })[];
  readonly refusal: null;
}

/** Half a character decodes to U+FFFD; its bytes stay exact. */
const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

function wireToken({ bytes, logprob }: TokenDetail): WireToken {
  return { token: utf8.decode(Uint8Array.from(bytes)), logprob, bytes };
}

/** Control tokens such as <|im_end|>, as every Qwen vocabulary spells them. They are no part of the text. */
const CONTROL = /^<\|\w+\|>$/;

/** @returns OpenAI's `logprobs` of a choice: its tokens joined are its text. null when the request did not ask. */
export function wireLogprobs(tokens: readonly TokenWithAlternatives[] | undefined): WireLogprobs | null {
  if (tokens === undefined) return null;
  const content = tokens.map((token) => ({ ...wireToken(token), top_logprobs: token.top.map(wireToken) }));
  return { content: content.filter(({ token }) => !CONTROL.test(token)), refusal: null };
}

interface Choice {
  readonly index: number;
  readonly message: { readonly role: 'assistant'; readonly content: string; readonly refusal: null };
  readonly logprobs: WireLogprobs | null;
  readonly finish_reason: FinishReason;
}

interface ChatCompletion extends CompletionHead {
  readonly object: 'chat.completion';
  readonly choices: readonly Choice[];
  readonly usage: WireUsage;
  readonly system_fingerprint: string;
  /** what OpenAI's shape has no field for; its clients pass it through */
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

/** A finished caption as one answer; every sample is a choice. */
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

interface ChunkChoice {
  readonly index: number;
  readonly delta: { readonly role?: 'assistant'; readonly content?: string; readonly refusal?: null };
  readonly logprobs: WireLogprobs | null;
  readonly finish_reason: FinishReason | null;
}

export interface ChatChunk extends CompletionHead {
  readonly object: 'chat.completion.chunk';
  readonly system_fingerprint: string;
  readonly choices: readonly ChunkChoice[];
  /** null until the last chunk; absent unless the request asked for it */
  readonly usage?: WireUsage | null;
  readonly avocado?: unknown;
}

export interface ChunkOptions {
  readonly head: CompletionHead;
  readonly fingerprint: string;
  readonly samples: number;
  readonly includeUsage: boolean;
}

/** The chunks of one completion; all share id, time and fingerprint. */
export class Chunks {
  readonly #base: Omit<ChatChunk, 'choices'>;
  readonly #options: ChunkOptions;

  constructor(options: ChunkOptions) {
    const { head, fingerprint, includeUsage } = options;
    this.#options = options;
    this.#base = {
      ...head,
      object: 'chat.completion.chunk',
      system_fingerprint: fingerprint,
      ...(includeUsage ? { usage: null } : {}),
    };
  }

  /** One chunk per choice, sent before any text. */
  first(): ChatChunk[] {
    return Array.from({ length: this.#options.samples }, (_, index) =>
      this.#choice({
        index,
        delta: { role: 'assistant', content: '', refusal: null },
        logprobs: null,
        finish_reason: null,
      }),
    );
  }

  /** @returns undefined for a token that adds no text, when the request did not ask for logprobs */
  delta({ index, text, tokens }: TextDelta): ChatChunk | undefined {
    const logprobs = wireLogprobs(tokens);
    if (text === '' && (logprobs === null || logprobs.content.length === 0)) return undefined;
    return this.#choice({ index, delta: { content: text }, logprobs, finish_reason: null });
  }

  /** One chunk per choice with its finish reason, the last with `extras`; then the usage, if requested. */
  last(end: CaptionEnd, extras: unknown): ChatChunk[] {
    const samples = [end, ...end.others];
    const chunks = samples.map(({ finishReason }, index) =>
      this.#choice({ index, delta: {}, logprobs: null, finish_reason: finishReason }),
    );
    const withExtras = chunks.map((chunk, index) =>
      index === chunks.length - 1 ? { ...chunk, avocado: extras } : chunk,
    );
    if (!this.#options.includeUsage) return withExtras;
    return [...withExtras, { ...this.#base, choices: [], usage: wireUsage(end.usage) }];
  }

  #choice(choice: ChunkChoice): ChatChunk {
    return { ...this.#base, choices: [choice] };
  }
}
