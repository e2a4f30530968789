// A caption's events as OpenAI's chunks. Pure: what is sent when and how is the server's.
import type { CaptionEnd, FinishReason, TextDelta } from '../output/events.ts';
import type { CompletionHead } from './completion-head.ts';
import { wireLogprobs, type WireLogprobs } from './logprobs.ts';
import { wireUsage, type WireUsage } from './usage.ts';

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
  /** null until the last chunk; not there at all unless it was asked for */
  readonly usage?: WireUsage | null;
  readonly avocado?: unknown;
}

export interface ChunkOptions {
  readonly head: CompletionHead;
  readonly fingerprint: string;
  readonly samples: number;
  readonly includeUsage: boolean;
}

/** Makes the chunks of one completion; all have the same id, time and fingerprint. */
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

  /** One for each choice, before any of its text. */
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

  /** @returns undefined for a token that neither makes text nor is to be told by itself */
  delta({ index, text, tokens }: TextDelta): ChatChunk | undefined {
    const logprobs = wireLogprobs(tokens);
    if (text === '' && (logprobs === null || logprobs.content.length === 0)) return undefined;
    return this.#choice({ index, delta: { content: text }, logprobs, finish_reason: null });
  }

  /** How each choice ended, `extras` beside the last of them; then the usage, where it was asked for. */
  last(end: CaptionEnd, extras: unknown): ChatChunk[] {
    const samples = [end, ...end.others];
    const chunks = samples.map(({ finishReason }, index) =>
      this.#choice({ index, delta: {}, logprobs: null, finish_reason: finishReason }),
    );
    const told = chunks.map((chunk, index) => (index === chunks.length - 1 ? { ...chunk, avocado: extras } : chunk));
    return this.#options.includeUsage ? [...told, { ...this.#base, choices: [], usage: wireUsage(end.usage) }] : told;
  }

  #choice(choice: ChunkChoice): ChatChunk {
    return { ...this.#base, choices: [choice] };
  }
}
