// The captioner as the command line and the server see it. A model in this process and one in
// another process look the same.
import type { BusySeconds } from '../base/work-clock.ts';
import { EventChannel } from '../base/event-channel.ts';
import { endingOf } from '../output/ending.ts';
import type { CaptionEvent, CaptionRequest, MediaReport } from '../output/events.ts';
import type { TokenCounts } from '../prompt/types.ts';

export interface SubmitOptions {
  /** aborts the request at any stage */
  readonly signal: AbortSignal;
  /** gets every event in order, synchronously; the last one is the only ending */
  readonly onEvent: (event: CaptionEvent) => void;
  /**
   * Called once when the request is planned and fits the context. Decoding starts when it resolves; when it rejects,
   * the request ends in that error.
   */
  readonly admit?: ((estimate: Estimate) => Promise<void>) | undefined;
}

export interface Captioner {
  /**
   * Captions one file. Never rejects: every fault is an ending. Resolves after the ending, when
   * nothing of the request is left.
   */
  submit(request: CaptionRequest, options: SubmitOptions): Promise<void>;
  /**
   * What a caption would cost, from the file's headers alone: nothing is decoded.
   * @throws AvocadoError for bad media or fields, `engine_unavailable`
   */
  estimate(request: CaptionRequest, signal?: AbortSignal): Promise<Estimate>;
  readonly model: CaptionerModel;
  status(): CaptionerStatus;
  /** engine numbers for metrics and liveness */
  stats(): CaptionerStats;
  close(): Promise<void>;
}

/**
 * The events of one caption as an async iterable, with exactly one ending, last. Leaving the
 * iteration aborts the request.
 */
export function captionEvents(
  captioner: Pick<Captioner, 'submit'>,
  request: CaptionRequest,
  signal?: AbortSignal,
): EventChannel<CaptionEvent> {
  const left = new AbortController();
  const channel = new EventChannel<CaptionEvent>(() => {
    left.abort();
  });
  const either = signal === undefined ? left.signal : AbortSignal.any([signal, left.signal]);
  const onEvent = (event: CaptionEvent): void => {
    channel.push(event);
  };
  void captioner
    .submit(request, { signal: either, onEvent })
    .catch((thrown: unknown) => {
      onEvent(endingOf(thrown, either));
    })
    .finally(() => {
      channel.close();
    });
  return channel;
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
  /** whose prompts, limits and output form hold where the model brings none */
  readonly preset: string;
}

/** loading: first start, weights and warm-up; restarting: after a crash or hang; stopped: for good */
export type CaptionerState = 'loading' | 'ready' | 'restarting' | 'stopped';

/** One of several engines. */
export interface EngineStatus {
  readonly device: string;
  readonly state: CaptionerState;
  readonly restarts: number;
  readonly pid: number | undefined;
}

export interface CaptionerStatus {
  /** of several engines: ready when one of them is */
  readonly state: CaptionerState;
  /** what it is doing or why it is not ready; '' when ready */
  readonly text: string;
  readonly done: number;
  readonly total: number;
  readonly restarts: number;
  /** of the (first) engine process; undefined in this process or while there is none */
  readonly pid: number | undefined;
  /** each engine process, in the order of the devices; absent in this process */
  readonly engines?: readonly EngineStatus[];
}

/** What a caption will take. Exact but for the sound, whose length is taken from the container. */
export interface Estimate {
  readonly kind: MediaReport['kind'];
  readonly durationSeconds: number;
  /** pixels of all frames that the decoder must make, also of those that are not looked at, in millions */
  readonly decodeMegapixels: number;
  /** packets that are read, of all tracks */
  readonly packets: number;
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
  /** of a caption in segments: about how many, and what one of them takes; the numbers above are of all together */
  readonly segments?: {
    readonly count: number;
    readonly seconds: number;
    readonly promptTokens: number;
    readonly maxTokens: number;
  };
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
  /** a run (encoder, prefill, decode) is in progress or due */
  readonly busy: boolean;
  /** grows with every finished run */
  readonly progress: number;
  /** tokens in the slots over the tokens they could hold, 0 … 1 */
  readonly kvUsage: number;
  /** memory of the KV cache that sequences and kept prefixes have, over all of it, 0 … 1 */
  readonly kvReserved: number;
  /** batch captions that gave up their slot to an interactive one, and were taken up again later */
  readonly preemptions: number;
  /** files in the decoders, files that wait for one, and for how long none of the decoders has become free */
  readonly decoding: { readonly running: number; readonly waiting: number; readonly stalledMs: number };
  /** since the captioner was opened */
  readonly busySeconds: BusySeconds;
  /** media: encoded clips; prefix: keys and values of prompts */
  readonly caches: { readonly media: CacheCounts; readonly prefix: CacheCounts };
  /** as Decoder has it; absent on a CPU */
  readonly recordedSteps?: Readonly<Record<string, boolean>> | undefined;
}
