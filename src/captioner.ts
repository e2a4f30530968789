// What the doors (command line, HTTP) know of captioning. A model in this process and one in another process have the same face.
import type { CaptionEvent, CaptionRequest } from './stream/events.ts';

export interface Captioner {
  /** Streams events; exactly one terminal event comes last; never throws for a request's own faults. */
  caption(request: CaptionRequest, signal?: AbortSignal): AsyncIterable<CaptionEvent>;
  readonly model: CaptionerModel;
  /** engine numbers for metrics and liveness */
  stats(): CaptionerStats;
  close(): Promise<void>;
}

export interface CaptionerModel {
  readonly name: string;
  readonly directory: string;
  readonly precision: string;
  readonly device: string;
  readonly runtime: string;
  /** most tokens of prompt and caption together */
  readonly context: number;
  readonly slots: number;
  readonly profile: string;
}

export interface CaptionerStats {
  /** sequences without a slot yet */
  readonly waiting: number;
  /** sequences that hold a slot */
  readonly running: number;
  readonly freeSlots: number;
  readonly slots: number;
  readonly steps: number;
  /** on performance.now()'s clock; undefined before the first step */
  readonly lastStepAtMs: number | undefined;
  readonly generatedTokens: number;
  readonly promptTokens: number;
}
