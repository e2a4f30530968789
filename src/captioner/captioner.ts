// What the doors (command line, HTTP) know of captioning. A model in this process and one in another process have the same face.
import type { TokenCounts } from '../prompt/types.ts';
import type { CaptionEvent, CaptionRequest, MediaReport } from '../output/events.ts';

export interface Captioner {
  /** Streams events; exactly one terminal event comes last; never throws for a request's own faults. */
  caption(request: CaptionRequest, signal?: AbortSignal): AsyncIterable<CaptionEvent>;
  /** What a caption would cost, from the file's headers alone: nothing is decoded. @throws AvocadoError for bad media or fields, `engine_unavailable` */
  estimate(request: CaptionRequest, signal?: AbortSignal): Promise<Estimate>;
  readonly model: CaptionerModel;
  status(): CaptionerStatus;
  /** engine numbers for metrics and liveness */
  stats(): CaptionerStats;
  close(): Promise<void>;
}

export interface CaptionerModel {
  readonly name: string;
  readonly directory: string;
  readonly precision: string;
  readonly device: string;
  /** name and version; '' until the engine runs */
  readonly runtime: string;
  /** most tokens of prompt and caption together */
  readonly context: number;
  readonly slots: number;
  readonly profile: string;
}

/** loading: first start, weights and warm-up; restarting: it died and comes back; stopped: it will not come back */
export type CaptionerState = 'loading' | 'ready' | 'restarting' | 'stopped';

export interface CaptionerStatus {
  readonly state: CaptionerState;
  /** what it is doing, or why it is not ready, in words; '' when ready */
  readonly text: string;
  readonly done: number;
  readonly total: number;
  readonly restarts: number;
  /** of the engine process; undefined in this process or while there is none */
  readonly pid: number | undefined;
}

/** What a caption will take; the sound's length is the container's word. */
export interface Estimate {
  readonly kind: MediaReport['kind'];
  readonly durationSeconds: number;
  readonly video?: {
    readonly frames: number;
    readonly sampleFps: number;
    readonly width: number;
    readonly height: number;
    readonly tokens: number;
  };
  readonly audio: {
    readonly present: boolean;
    readonly used: boolean;
    readonly seconds: number;
    readonly tokens: number;
  };
  readonly promptTokens: TokenCounts;
  /** most tokens the caption may have; 0 when the prompt alone fills the context */
  readonly maxTokens: number;
  readonly context: number;
  /** false: a caption request like this one would end in `context_length_exceeded` */
  readonly fits: boolean;
  readonly profile: string;
}

export interface CacheCounts {
  readonly hits: number;
  readonly misses: number;
}

export interface CaptionerStats {
  /** sequences without a slot yet */
  readonly waiting: number;
  /** sequences that hold a slot */
  readonly running: number;
  readonly freeSlots: number;
  readonly slots: number;
  readonly steps: number;
  /** on performance.now()'s clock of this process; undefined before the first step */
  readonly lastStepAtMs: number | undefined;
  readonly generatedTokens: number;
  readonly promptTokens: number;
  /** a run (tower, prefill, decode) is under way or due: progress must follow */
  readonly busy: boolean;
  /** grows with every finished run, whatever it was */
  readonly progress: number;
  /** tokens in the slots over the tokens they could hold, 0 … 1 */
  readonly kvUsage: number;
  /** media: encoded clips; prefix: keys and values of prompts */
  readonly caches: { readonly media: CacheCounts; readonly prefix: CacheCounts };
}
