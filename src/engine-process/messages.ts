// Everything that crosses the line between a server and its engine process: plain data, small. Media
// never cross it, only paths.
import { AvocadoError, type ErrorCode } from '../base/errors.ts';
import type { CaptionerModel, CaptionerStats, Estimate } from '../captioner/captioner.ts';
import type { CaptionEvent, CaptionRequest } from '../output/events.ts';
import type { EngineSettings } from '../settings/engine-settings.ts';

export type ToEngine =
  | { readonly type: 'open'; readonly settings: EngineSettings; readonly warmUpFile: string }
  /** `gated`: after the plan it sends `estimated` and waits for `start` */
  | { readonly type: 'caption'; readonly id: number; readonly request: CaptionRequest; readonly gated: boolean }
  | { readonly type: 'start'; readonly id: number }
  | { readonly type: 'estimate'; readonly id: number; readonly request: CaptionRequest }
  | { readonly type: 'abort'; readonly id: number }
  /** end what runs, then exit */
  | { readonly type: 'close' };

export type FromEngine =
  | { readonly type: 'progress'; readonly text: string; readonly done: number; readonly total: number }
  /** known before the weights are loaded */
  | { readonly type: 'described'; readonly model: CaptionerModel }
  | { readonly type: 'ready'; readonly model: CaptionerModel }
  /** it could not start, and exits */
  | { readonly type: 'failed'; readonly error: PlainError }
  /** it was ready, but nothing can succeed in it any more */
  | { readonly type: 'broken'; readonly why: string }
  | { readonly type: 'events'; readonly batches: readonly EventBatch[] }
  | { readonly type: 'estimated'; readonly id: number; readonly estimate: Estimate }
  | { readonly type: 'estimate-failed'; readonly id: number; readonly error: PlainError }
  | Heartbeat;

/** Events of one caption, in order. */
export interface EventBatch {
  readonly id: number;
  readonly events: readonly CaptionEvent[];
}

export interface Heartbeat {
  readonly type: 'heartbeat';
  /** undefined while the model is being opened */
  readonly stats: CaptionerStats | undefined;
  /** age of `stats.lastStepAtMs`: the clocks of two processes have different origins */
  readonly lastStepAgeMs: number | undefined;
}

/** An AvocadoError without its stack and cause, which the engine process has written to stderr where they matter. */
export interface PlainError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly param?: string;
  readonly retryAfterSeconds?: number;
}

export function plainError({ code, message, param, retryAfterSeconds }: AvocadoError): PlainError {
  return {
    code,
    message,
    ...(param === undefined ? {} : { param }),
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  };
}

export function thrownError({ code, message, ...options }: PlainError): AvocadoError {
  return new AvocadoError(code, message, options);
}
