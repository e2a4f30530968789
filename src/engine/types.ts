// What goes into the engine and what comes out: token ids and embeddings, never text.
import type { AvocadoError } from '../errors.ts';

export type FinishReason = 'stop' | 'length';

export interface SamplingParams {
  /** 0 = greedy */
  readonly temperature: number;
  readonly topP: number;
  /** 0 = off */
  readonly topK: number;
  readonly repetitionPenalty: number;
  readonly seed: number | undefined;
}

export interface SequenceRequest {
  readonly ids: Int32Array;
  /** [3, ids.length] */
  readonly positions: Int32Array;
  readonly ropeDelta: number;
  /** prompt rows whose embedding is replaced, ascending */
  readonly mediaRows: Int32Array;
  /** [mediaRows.length, hidden] f32, in the order of mediaRows */
  readonly mediaEmbeds: Float32Array<ArrayBuffer>;
  readonly sampling: SamplingParams;
  readonly stopIds: readonly number[];
  readonly maxTokens: number;
}

/** Exactly one of end, error, aborted comes last. */
export type SequenceEvent =
  | { readonly type: 'prefill'; readonly done: number; readonly total: number }
  | { readonly type: 'token'; readonly id: number; readonly logprob: number }
  | { readonly type: 'end'; readonly reason: FinishReason }
  | { readonly type: 'error'; readonly error: AvocadoError }
  | { readonly type: 'aborted' };
