// Caption requests and their events: plain data that crosses process boundaries and sockets unchanged.
// Every request ends in exactly one of caption-end, caption-error, caption-aborted.
import type { ErrorCode } from '../base/errors.ts';
import type { Priority } from '../base/priority-turns.ts';
import type { FinishReason, SamplingParams } from '../engine/types.ts';
import type { TokenCounts } from '../prompt/types.ts';

export type { FinishReason, Priority, SamplingParams };
/**
 * `queued` and `fetch` happen in a server, before the captioner sees the request; `merge` after all segments.
 */
export type Stage = 'queued' | 'fetch' | 'probe' | 'decode' | 'encode' | 'prefill' | 'merge';

/** What was seen and heard. */
export interface MediaReport {
  readonly kind: 'video' | 'audio' | 'image';
  readonly durationSeconds: number;
  /** what was captioned of the file, in its seconds; absent: all of it */
  readonly part?: { readonly start: number; readonly end: number };
  readonly video?: {
    readonly frames: number;
    readonly sampleFps: number;
    readonly sourceFps: number;
    readonly width: number;
    readonly height: number;
    readonly sourceWidth: number;
    readonly sourceHeight: number;
    readonly codec: string;
    readonly tokens: number;
    /** how many there were before `compress` left some out */
    readonly tokensBefore?: number;
  };
  readonly audio: {
    readonly present: boolean;
    readonly used: boolean;
    readonly seconds: number;
    readonly tokens: number;
    readonly codec?: string;
  };
  readonly warnings: readonly string[];
}

export interface Usage {
  readonly promptTokens: number;
  /** of all samples together */
  readonly completionTokens: number;
  readonly totalTokens: number;
  readonly promptTokensByModality: Omit<TokenCounts, 'total'>;
  /** prompt tokens whose keys and values were taken over from an earlier request */
  readonly cachedTokens: number;
}

/**
 * Seconds; `stages` by name: probe, decode, resize, audio, mel, tokenize, vision, audio_tower, prefill, generate;
 * `shared` instead of decode to audio_tower for a wait on media that another request prepares, none of these for media
 * still in memory; in a server also queue, fetch.
 */
export interface Timings {
  readonly totalSeconds: number;
  readonly firstTokenSeconds: number | undefined;
  readonly tokensPerSecond: number | undefined;
  readonly stages: Readonly<Record<string, number>>;
}

/** A token as OpenAI's `logprobs` reports it. `bytes` may be a part of a character. */
export interface TokenDetail {
  readonly id: number;
  readonly logprob: number;
  readonly bytes: readonly number[];
}

export interface TokenWithAlternatives extends TokenDetail {
  /** best first, the chosen one among them when it belongs there */
  readonly top: readonly TokenDetail[];
}

export type CaptionEvent =
  | { readonly type: 'stage'; readonly stage: Stage; readonly done: number; readonly total: number }
  | {
      readonly type: 'media';
      readonly media: MediaReport;
      readonly profile: string;
      readonly promptTokens: TokenCounts;
    }
  | TextDelta
  /** the events of a segment come between these two; of several segments one after the other */
  | { readonly type: 'segment-start'; readonly index: number; readonly start: number; readonly end: number }
  | ({ readonly type: 'segment-end' } & SegmentCaption)
  | CaptionEnd
  | {
      readonly type: 'caption-error';
      readonly code: ErrorCode;
      readonly message: string;
      readonly param?: string;
      readonly retryAfterSeconds?: number;
    }
  | { readonly type: 'caption-aborted' };

export interface TextDelta {
  readonly type: 'text-delta';
  /** which of the request's `samples`, from 0 */
  readonly index: number;
  /** index of the segment that it belongs to; absent: the file is captioned in one piece */
  readonly segment?: number;
  readonly text: string;
  readonly tokenIds: readonly number[];
  readonly logprobs: readonly number[];
  /** one for each of tokenIds, when the request asked for `topLogprobs` */
  readonly tokens?: readonly TokenWithAlternatives[];
}

/** One caption. */
export interface Sample {
  readonly caption: string;
  readonly finishReason: FinishReason;
  /** all generated ids including the stop token, and the natural log-probability of each under the unmodified logits */
  readonly tokenIds: readonly number[];
  readonly logprobs: readonly number[];
  readonly tokens?: readonly TokenWithAlternatives[];
  /** of a model that writes scenes with times */
  readonly segments?: readonly SegmentCaption[];
}

/** The caption of one segment. Seconds of the file; `end` is not included. */
export interface SegmentCaption {
  readonly index: number;
  readonly start: number;
  readonly end: number;
  readonly caption: string;
  readonly finishReason: FinishReason;
  /** absent where the model cut a caption itself: its tokens are those of the whole */
  readonly usage?: Usage | undefined;
  /** what was seen and heard of it; absent where it has an error */
  readonly media?: MediaReport;
  /** the times are what the model wrote, not cuts of the file */
  readonly timedBy?: 'model';
  /** the fields that the model wrote of it, by name */
  readonly details?: Readonly<Record<string, string>> | undefined;
  /** what the model cut the segment into itself */
  readonly scenes?: readonly SegmentCaption[] | undefined;
  /** why there is no caption: a defect of the file at this place */
  readonly error?: { readonly code: ErrorCode; readonly message: string };
}

/**
 * The caption, or the first of several. Its `segments` are in order: those of the file without gaps, or the model's own
 * scenes; absent: the file was captioned in one piece.
 */
export interface CaptionEnd extends Sample {
  readonly type: 'caption-end';
  /** the samples after the first, where the request asked for more than one */
  readonly others: readonly Sample[];
  readonly usage: Usage;
  readonly media: MediaReport;
  readonly profile: string;
  readonly timings: Timings;
  /** what became of the one text that segments were to be merged into; absent: none was wanted */
  readonly merge?: MergeReport | undefined;
}

/** refused: the text model wrote what cannot be taken; failed: it gave no answer. The caption is the timeline then. */
export interface MergeReport {
  readonly status: 'merged' | 'refused' | 'failed';
  readonly model: string;
  readonly reason?: string;
  /** tokens of the text model; undefined: its server does not count */
  readonly usage?: { readonly promptTokens: number; readonly completionTokens: number } | undefined;
}

/**
 * A part of a file, in seconds from its start. `time`: from `start` up to, not including, `end`. `reference`: as
 * qwen-omni-utils reads video_start and video_end.
 */
export interface RequestedPart {
  readonly rule: 'time' | 'reference';
  readonly start?: number | undefined;
  readonly end?: number | undefined;
}

/** A penalty that is not asked for is the model's own. */
export type RequestedSampling = Omit<SamplingParams, 'repetitionPenalty'> & {
  readonly repetitionPenalty: number | undefined;
};

/** `auto`: only where the file is long, or does not fit the context in one piece. */
export interface RequestedSegments {
  readonly when: 'auto' | 'always';
  /** length to aim at, seconds; undefined: the default */
  readonly targetSeconds?: number | undefined;
}

/** One caption to make; plain data. `profile` holds overrides of the named profile's fields. */
export interface CaptionRequest {
  readonly path: string;
  /** SHA-256 of the file in hex, where it is known already */
  readonly contentHash?: string | undefined;
  /** undefined: the whole file */
  readonly part?: RequestedPart | undefined;
  /** undefined: in one piece */
  readonly segments?: RequestedSegments | undefined;
  /**
   * the first segments of the same request, from an earlier try that was stopped: they are taken over. Their tokens are
   * not reported again.
   */
  readonly finished?: readonly SegmentCaption[] | undefined;
  /** the prompt of a segment contains the caption of the one before */
  readonly carry?: boolean | undefined;
  /** that caption */
  readonly before?: string | undefined;
  /** whether segments are merged into one text; undefined: where the operator named a text model */
  readonly merge?: boolean | undefined;
  readonly prompt?: string | undefined;
  readonly promptId?: number | undefined;
  readonly systemPrompt?: string | undefined;
  readonly useAudio: boolean;
  readonly profileName?: string | undefined;
  readonly profile: Readonly<Partial<Record<ProfileField, number>>>;
  readonly maxTokens: number | undefined;
  /** before so many tokens nothing ends the caption; 0 = off */
  readonly minTokens: number;
  /** the model's own stop tokens do not end the caption */
  readonly ignoreEos: boolean;
  /** token ids that end the caption, beside the model's own */
  readonly stopTokenIds: readonly number[];
  readonly stop: readonly string[];
  readonly sampling: RequestedSampling;
  readonly priority: Priority;
  /** captions to make of the one prompt, 1 … 8 */
  readonly samples: number;
  /** alternatives to report for each token, 0 … 20; undefined = no `tokens` in the events */
  readonly topLogprobs: number | undefined;
  /** share of the video tokens that are kept; undefined = all */
  readonly compress?: number | undefined;
  /** end a caption that repeats itself without end, with finish reason `repetition` */
  readonly repetitionGuard: boolean;
}

export type ProfileField =
  | 'fps'
  | 'nframes'
  | 'minFrames'
  | 'maxFrames'
  | 'minPixels'
  | 'maxPixels'
  | 'totalPixels'
  | 'processorMinPixels'
  | 'processorMaxPixels'
  | 'processorFps';
