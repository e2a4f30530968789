// A load test of a running server: what is asked, and what came of it.

export interface Clip {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export interface Target {
  /** without a slash at its end */
  readonly url: string;
  readonly apiKey: string | undefined;
  /** fields of the form beside the file, such as max_tokens */
  readonly fields: Readonly<Record<string, string>>;
}

/** What one request of a level came to. `refused` is 429 or 503, `left` a client that went away on purpose. */
export type Answer =
  | CaptionAnswer
  | { readonly kind: 'refused'; readonly retryAfterSeconds: number }
  | { readonly kind: 'left' }
  | { readonly kind: 'failed'; readonly code: string };

export interface CaptionAnswer {
  readonly kind: 'caption';
  /** from the request's first byte to the first words */
  readonly firstTokenSeconds: number;
  readonly totalSeconds: number;
  /** between two arrivals of words, each divided by the tokens it brought */
  readonly tokenGapsSeconds: readonly number[];
  readonly tokens: number;
  /** playing time of the clip */
  readonly mediaSeconds: number;
}

export interface LevelOptions {
  /** clients, each of which sends its next request when the last one has ended */
  readonly concurrency: number;
  /** requests in all */
  readonly requests: number;
  /** share of requests whose client leaves at a random moment, 0 … 1 */
  readonly leaving: number;
  readonly seed: number;
}

/** Sends one clip; a `leaveAfterMs` client goes away then, unless the caption is complete. */
export type Send = (clip: Clip, leaveAfterMs: number | undefined, signal: AbortSignal) => Promise<Answer>;

export interface Level {
  readonly concurrency: number;
  readonly wallSeconds: number;
  readonly answers: readonly Answer[];
}
