// What a caption request gives back, as plain data that can cross a process line or a socket unchanged.
// Every request ends in exactly one of caption-end, caption-error, caption-aborted.
import type { FinishReason, SamplingParams } from '../engine/types.ts';
import type { ErrorCode } from '../errors.ts';
import type { TokenCounts } from '../prompt/types.ts';

export type { FinishReason, SamplingParams };
export type Stage = 'probe' | 'decode' | 'encode' | 'prefill';

/** What was seen and heard. */
export interface MediaReport {
  readonly kind: 'video' | 'audio' | 'image';
  readonly durationSeconds: number;
  readonly video?: { readonly frames: number; readonly sampleFps: number; readonly sourceFps: number; readonly width: number; readonly height: number; readonly sourceWidth: number; readonly sourceHeight: number; readonly codec: string; readonly tokens: number };
  readonly audio: { readonly present: boolean; readonly used: boolean; readonly seconds: number; readonly tokens: number; readonly codec?: string };
  readonly warnings: readonly string[];
}

export interface Usage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly totalTokens: number;
  readonly promptTokensByModality: Omit<TokenCounts, 'total'>;
}

/** Seconds; `stages` by name (probe, decode, resize, audio, mel, tokenize, vision, audio_tower, prefill, generate). */
export interface Timings {
  readonly totalSeconds: number;
  readonly firstTokenSeconds: number | undefined;
  readonly tokensPerSecond: number | undefined;
  readonly stages: Readonly<Record<string, number>>;
}

export type CaptionEvent =
  | { readonly type: 'stage'; readonly stage: Stage; readonly done: number; readonly total: number }
  | { readonly type: 'media'; readonly media: MediaReport; readonly profile: string; readonly promptTokens: TokenCounts }
  | { readonly type: 'text-delta'; readonly text: string; readonly tokenIds: readonly number[]; readonly logprobs: readonly number[] }
  | CaptionEnd
  | { readonly type: 'caption-error'; readonly code: ErrorCode; readonly message: string; readonly param?: string }
  | { readonly type: 'caption-aborted' };

export interface CaptionEnd {
  readonly type: 'caption-end';
  readonly caption: string;
  readonly finishReason: FinishReason;
  readonly usage: Usage;
  readonly media: MediaReport;
  readonly profile: string;
  readonly timings: Timings;
  /** all generated ids including the stop token, and the natural log-probability of each under the unmodified logits */
  readonly tokenIds: readonly number[];
  readonly logprobs: readonly number[];
}

/** One caption to make; plain data. `profile` holds overrides of the named profile's fields. */
export interface CaptionRequest {
  readonly path: string;
  readonly prompt?: string | undefined;
  readonly promptId?: number | undefined;
  readonly systemPrompt?: string | undefined;
  readonly useAudio: boolean;
  readonly profileName?: string | undefined;
  readonly profile: Readonly<Partial<Record<ProfileField, number>>>;
  readonly maxTokens: number | undefined;
  readonly stop: readonly string[];
  readonly sampling: SamplingParams;
}

export type ProfileField = 'fps' | 'nframes' | 'minFrames' | 'maxFrames' | 'minPixels' | 'maxPixels' | 'totalPixels' | 'processorMinPixels' | 'processorMaxPixels' | 'processorFps';
