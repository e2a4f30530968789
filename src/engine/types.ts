// What goes into the engine and what comes out: token ids and embeddings, never text.
import type { AvocadoError } from '../base/errors.ts';
import type { FloatArray } from '../base/floats.ts';
import type { Priority } from '../base/priority-turns.ts';

/** `repetition`: the repetition guard ended it */
export type FinishReason = 'stop' | 'length' | 'repetition';

export interface TokenLogprob {
  readonly id: number;
  /** natural logarithm of its probability under the unmodified logits */
  readonly logprob: number;
}

export interface SamplingParams {
  /** 0 = greedy */
  readonly temperature: number;
  readonly topP: number;
  /** 0 = off */
  readonly topK: number;
  /** tokens less likely than this share of the likeliest one are not drawn; before top-k and top-p; 0 = off */
  readonly minP: number;
  readonly repetitionPenalty: number;
  /** OpenAI's, over generated tokens only: logit - presence * (count > 0) - frequency * count; 0 = off */
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  readonly seed: number | undefined;
}

export interface SuppressedTokens {
  readonly ids: readonly number[];
  readonly tokens: number;
}

export interface SequenceRequest {
  readonly ids: Int32Array;
  /** [3, ids.length] */
  readonly positions: Int32Array;
  readonly ropeDelta: number;
  /** prompt rows whose embedding is replaced, ascending */
  readonly mediaRows: Int32Array;
  /** [mediaRows.length, hidden] in the type that the decoder takes, in the order of mediaRows */
  readonly mediaEmbeds: FloatArray;
  readonly sampling: SamplingParams;
  readonly stopIds: readonly number[];
  readonly maxTokens: number;
  /** ids that are never among the first `tokens` generated tokens */
  readonly suppress: SuppressedTokens | undefined;
  readonly priority: Priority;
  /** alternatives to report with each token, 0 … 20; 0 = none */
  readonly topLogprobs: number;
  /**
   * The first `tokens` tokens of the prompt (ids, positions and media embeddings) are equal in every request with the
   * same key, so their keys and values may be copied. Prefill always ends a chunk there, with or without a copy, so
   * that the logits do not depend on it.
   */
  readonly prefix: { readonly key: string; readonly tokens: number } | undefined;
}

/** Exactly one of end, error, aborted comes last. */
export type SequenceEvent =
  | { readonly type: 'prefill'; readonly done: number; readonly total: number }
  | { readonly type: 'token'; readonly id: number; readonly logprob: number; readonly top: readonly TokenLogprob[] }
  | { readonly type: 'end'; readonly reason: FinishReason }
  | { readonly type: 'error'; readonly error: AvocadoError }
  | { readonly type: 'aborted' };
