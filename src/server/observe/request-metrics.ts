// What caption requests leave in the metrics: the table of names, and the observation of one request that counts into
// it. A metric about requests is added here and nowhere else. Labels never hold file names, URLs, key names or user
// text.
import type { Registry } from 'prom-client';
import type { CaptionTask, Refusal, RequestStage } from '../../admission/types.ts';
import { ERRORS, type ErrorCode } from '../../base/errors.ts';
import type { CaptionEnd, CaptionEvent, MediaReport, Priority, TextDelta } from '../../output/events.ts';
import { countersOf, histogramsOf, type CountersOf, type HistogramsOf } from './prometheus.ts';

/** Bucket bounds in seconds. A request takes from a tenth of a second to an hour. */
const REQUEST_SECONDS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600, 1200, 1800, 3600];
/** From a probe of some milliseconds to an hour of generation. */
const STAGE_SECONDS = [0.005, 0.01, 0.025, 0.05, ...REQUEST_SECONDS];
/** From a small model on a GPU to a large one on a busy CPU, where the prefill of another request adds a pause. */
const INTER_TOKEN_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5, 10, 30, 60];
const BYTES = [1e4, 1e5, 1e6, 5e6, 2e7, 5e7, 1e8, 2.5e8, 5e8, 1e9, 2e9, 5e9];
const MEDIA_SECONDS = [1, 2.5, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200];
const FRAMES = [1, 4, 8, 16, 32, 64, 128, 256, 512, 768];
const PIXELS = [1e5, 2.5e5, 5e5, 1e6, 2.5e6, 5e6, 1e7, 2.5e7, 5e7, 1e8, 2.5e8];

const COUNTERS = {
  requests: {
    name: 'avocado_requests_total',
    help:
      'Caption requests that ended, by outcome (ok, error, aborted, rejected), finish reason (stop, length, ' +
      'repetition, or the outcome), class (interactive, batch; unread if the body was not read) and error code ' +
      '(ok, or a code of errors.md).',
    labels: ['outcome', 'finish_reason', 'class', 'code'],
  },
  rejected: {
    name: 'avocado_requests_rejected_total',
    help: 'Requests that were not admitted, by reason (queue_count, queue_work, receiving, stopping, rate_limited, unauthorized).',
    labels: ['reason'],
  },
  cancelled: {
    name: 'avocado_requests_cancelled_total',
    help:
      'Requests that were cancelled, by the stage they were in: the client disconnected, the deadline passed, ' +
      'a client sent a cancel, or the server stopped.',
    labels: ['stage'],
  },
  promptTokens: {
    name: 'avocado_prompt_tokens_total',
    help: 'Prompt tokens of requests whose media were prepared, by modality (text, video, audio, image).',
    labels: ['modality'],
  },
  generationTokens: {
    name: 'avocado_generation_tokens_total',
    help: 'Tokens generated for requests that ended, summed over samples.',
    labels: [],
  },
  mediaErrors: {
    name: 'avocado_media_errors_total',
    help: 'Requests that failed because of their file, by error code.',
    labels: ['reason'],
  },
  videoSeconds: {
    name: 'avocado_video_seconds_captioned_total',
    help: 'Duration of captioned media, in seconds.',
    labels: [],
  },
} as const;

const HISTOGRAMS = {
  duration: {
    name: 'avocado_request_duration_seconds',
    help: 'From the start of the request to its end, upload included; without rejected requests.',
    labels: [],
    buckets: REQUEST_SECONDS,
  },
  firstToken: {
    name: 'avocado_time_to_first_token_seconds',
    help: 'From the start of the request to the first token of its caption.',
    labels: [],
    buckets: REQUEST_SECONDS,
  },
  betweenTokens: {
    name: 'avocado_inter_token_seconds',
    help: 'Time between two tokens of a caption.',
    labels: [],
    buckets: INTER_TOKEN_SECONDS,
  },
  stages: {
    name: 'avocado_stage_duration_seconds',
    help: 'Time one request spent in one stage; queue and fetch happen in the server, the others in the engine.',
    labels: ['stage'],
    buckets: STAGE_SECONDS,
  },
  mediaBytes: {
    name: 'avocado_media_bytes',
    help: 'Size of media files, by source (upload, url, data, root).',
    labels: ['kind'],
    buckets: BYTES,
  },
  mediaDuration: {
    name: 'avocado_media_duration_seconds',
    help: 'Duration of media, by kind (video, audio, image).',
    labels: ['kind'],
    buckets: MEDIA_SECONDS,
  },
  mediaFrames: {
    name: 'avocado_media_frames',
    help: 'Frames given to the model, by kind of media (video, image).',
    labels: ['kind'],
    buckets: FRAMES,
  },
  mediaPixels: {
    name: 'avocado_media_pixels',
    help: 'Pixels given to the model, summed over frames, by kind of media (video, image).',
    labels: ['kind'],
    buckets: PIXELS,
  },
} as const;

/** vLLM's metrics that dashboards and autoscalers read, with vLLM's labels and meaning. */
const VLLM_COUNTERS = {
  success: {
    name: 'vllm:request_success_total',
    help: 'Requests that ended, by finished_reason (stop, length, abort, error).',
    labels: ['model_name', 'finished_reason'],
  },
} as const;

const VLLM_HISTOGRAMS = {
  duration: {
    name: 'vllm:e2e_request_latency_seconds',
    help: 'From the start of the request to its end.',
    labels: ['model_name'],
    buckets: REQUEST_SECONDS,
  },
  firstToken: {
    name: 'vllm:time_to_first_token_seconds',
    help: 'From the start of the request to the first token of its caption.',
    labels: ['model_name'],
    buckets: REQUEST_SECONDS,
  },
} as const;

/** Why a request was not admitted: reasons of the admission, and of the guards before it. */
export type Rejection = Refusal | 'rate_limited' | 'unauthorized';

/** The metrics of requests, in one registry. */
export interface RequestMetrics extends CountersOf<typeof COUNTERS>, HistogramsOf<typeof HISTOGRAMS> {
  readonly vllm:
    | (CountersOf<typeof VLLM_COUNTERS> & {
        readonly histograms: HistogramsOf<typeof VLLM_HISTOGRAMS>;
        readonly modelName: () => string;
      })
    | undefined;
}

const REJECTIONS: readonly Rejection[] = [
  'queue_count',
  'queue_work',
  'receiving',
  'stopping',
  'rate_limited',
  'unauthorized',
];
const STAGES: readonly RequestStage[] = [
  'receive',
  'queued',
  'fetch',
  'probe',
  'decode',
  'encode',
  'prefill',
  'generate',
  'merge',
];

/** Errors that end a request before it is admitted, or a server before it has requests: no caption request has them. */
const NOT_OF_REQUESTS: readonly ErrorCode[] = [
  'unauthorized',
  'forbidden',
  'rate_limited',
  'encoding_unsupported',
  'not_found',
  'method_not_allowed',
];
const EXITS_OF_STARTS: readonly number[] = [4, 6];
/** the codes that a caption request can end with, in the order of the error table */
const FAILURES = (Object.keys(ERRORS) as ErrorCode[]).filter(
  (code) => !NOT_OF_REQUESTS.includes(code) && !EXITS_OF_STARTS.includes(ERRORS[code].exit),
);
const MODALITIES = ['text', 'video', 'audio', 'image'] as const;

/** rate() needs a first sample: what has never happened reads 0 and is not absent. */
function countFromZero({
  requests,
  rejected,
  cancelled,
  promptTokens,
  mediaErrors,
}: CountersOf<typeof COUNTERS>): void {
  for (const reason of REJECTIONS) rejected.inc({ reason }, 0);
  for (const stage of STAGES) cancelled.inc({ stage }, 0);
  for (const modality of MODALITIES) promptTokens.inc({ modality }, 0);
  for (const reason of FAILURES.filter(isMediaError)) mediaErrors.inc({ reason }, 0);
  for (const priority of ['interactive', 'batch', 'unread'] as const) {
    for (const code of FAILURES) {
      const outcome = outcomeOf(code, priority !== 'unread');
      requests.inc({ outcome, finish_reason: outcome, class: priority, code }, 0);
    }
    if (priority === 'unread') continue; // has no caption
    for (const reason of ['stop', 'length', 'repetition'] as const)
      requests.inc({ outcome: 'ok', finish_reason: reason, class: priority, code: 'ok' }, 0);
  }
}

/** @param vllmModel when given, requests also count under vLLM's names, with this model name as label */
export function requestMetrics(registry: Registry, vllmModel: (() => string) | undefined): RequestMetrics {
  const counters = countersOf(COUNTERS, registry);
  countFromZero(counters);
  const vllm =
    vllmModel === undefined
      ? undefined
      : {
          ...countersOf(VLLM_COUNTERS, registry),
          histograms: histogramsOf(VLLM_HISTOGRAMS, registry),
          modelName: vllmModel,
        };
  return { ...counters, ...histogramsOf(HISTOGRAMS, registry), vllm };
}

type Outcome = 'ok' | 'error' | 'aborted' | 'rejected';

/** A request that ended, for its log line. */
export interface RequestSummary {
  readonly outcome: Outcome;
  /** of a request that failed */
  readonly code: ErrorCode | undefined;
  readonly firstTokenSeconds: number | undefined;
  readonly generatedTokens: number;
  readonly task: Pick<CaptionTask, 'source' | 'request'> | undefined;
  readonly end: CaptionEnd | undefined;
}

/** Errors of requests that were not admitted; their reason is counted where they are refused. */
const REJECTED: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['queue_full', 'rate_limited', 'unauthorized']);
/** Stages that the server measures itself as they happen, also for requests that fail later. */
const SERVER_STAGES: ReadonlySet<string> = new Set(['queue', 'fetch']);
const VLLM_REASONS: Readonly<Record<Outcome, string>> = {
  ok: 'stop',
  error: 'error',
  aborted: 'abort',
  rejected: 'error',
};

function isMediaError(code: ErrorCode): boolean {
  return code.startsWith('media_') || code === 'context_length_exceeded';
}

/** @param isRead the body was read: what fails from then on had been let in */
function outcomeOf(code: ErrorCode, isRead: boolean): Exclude<Outcome, 'ok'> {
  if (code === 'aborted') return 'aborted';
  return REJECTED.has(code) || (code === 'engine_unavailable' && !isRead) ? 'rejected' : 'error';
}

/** Counts one request exactly once, however it ends. */
export class RequestObservation {
  readonly #metrics: RequestMetrics;
  readonly #startedMs = performance.now();
  /** time of the last token, by sample */
  readonly #lastTokenMs = new Map<number, number>();
  #task: Pick<CaptionTask, 'source' | 'request'> | undefined;
  #firstTokenSeconds: number | undefined;
  #tokens = 0;
  #summary: RequestSummary | undefined;

  constructor(metrics: RequestMetrics) {
    this.#metrics = metrics;
  }

  /** undefined while the caption is in progress, and for an estimate, which makes no caption */
  get summary(): RequestSummary | undefined {
    return this.#summary;
  }

  /** The body has been read. */
  begin(task: Pick<CaptionTask, 'source' | 'request'>): void {
    this.#task = task;
  }

  /** The request failed before or after its events. No effect when one of its events already ended it. */
  fail(code: ErrorCode): void {
    if (this.#summary === undefined && isMediaError(code)) this.#metrics.mediaErrors.inc({ reason: code });
    this.#end(outcomeOf(code, this.#task !== undefined), { code });
  }

  count(event: CaptionEvent): void {
    switch (event.type) {
      case 'stage':
      case 'segment-start':
      case 'segment-end':
        return;
      case 'media':
        for (const modality of MODALITIES) this.#metrics.promptTokens.inc({ modality }, event.promptTokens[modality]);
        this.#countMedia(event.media);
        return;
      case 'text-delta':
        this.#countTokens(event);
        return;
      case 'caption-end':
        this.#succeed(event);
        return;
      case 'caption-error':
        this.fail(event.code);
        return;
      case 'caption-aborted':
        this.fail('aborted');
        return;
      default:
        event satisfies never;
    }
  }

  #countMedia({ kind, durationSeconds, video }: MediaReport): void {
    if (kind !== 'image') this.#metrics.mediaDuration.observe({ kind }, durationSeconds);
    if (video === undefined) return;
    this.#metrics.mediaFrames.observe({ kind }, video.frames);
    this.#metrics.mediaPixels.observe({ kind }, video.frames * video.width * video.height);
  }

  #countTokens({ index, tokenIds }: TextDelta): void {
    const nowMs = performance.now();
    const lastMs = this.#lastTokenMs.get(index);
    this.#lastTokenMs.set(index, nowMs);
    this.#tokens += tokenIds.length;
    if (this.#firstTokenSeconds === undefined) {
      this.#firstTokenSeconds = this.#seconds();
      this.#metrics.firstToken.observe(this.#firstTokenSeconds);
      this.#metrics.vllm?.histograms.firstToken.observe(
        { model_name: this.#metrics.vllm.modelName() },
        this.#firstTokenSeconds,
      );
    }
    if (lastMs === undefined) return;
    // Tokens of one multi-token character arrive in one event.
    const seconds = (nowMs - lastMs) / 1000 / tokenIds.length;
    for (let token = 0; token < tokenIds.length; token++) this.#metrics.betweenTokens.observe(seconds);
  }

  #seconds(): number {
    return (performance.now() - this.#startedMs) / 1000;
  }

  #succeed(end: CaptionEnd): void {
    if (this.#summary !== undefined) return;
    this.#tokens = end.usage.completionTokens;
    for (const [stage, seconds] of Object.entries(end.timings.stages))
      if (!SERVER_STAGES.has(stage)) this.#metrics.stages.observe({ stage }, seconds);
    this.#metrics.videoSeconds.inc(end.media.durationSeconds);
    this.#end('ok', { end });
  }

  #end(outcome: Outcome, { code, end }: { readonly code?: ErrorCode; readonly end?: CaptionEnd }): void {
    if (this.#summary !== undefined) return;
    const seconds = this.#seconds();
    const counted = { firstTokenSeconds: this.#firstTokenSeconds, generatedTokens: this.#tokens, task: this.#task };
    this.#summary = { outcome, code, end, ...counted };
    const priority: Priority | 'unread' = this.#task?.request.priority ?? 'unread';
    this.#metrics.requests.inc({
      outcome,
      finish_reason: end?.finishReason ?? outcome,
      class: priority,
      code: code ?? 'ok',
    });
    this.#metrics.generationTokens.inc(this.#tokens);
    if (outcome !== 'rejected') this.#metrics.duration.observe(seconds);
    this.#countForVllm(outcome, seconds, end);
  }

  #countForVllm(outcome: Outcome, seconds: number, end: CaptionEnd | undefined): void {
    const { vllm } = this.#metrics;
    if (vllm === undefined || outcome === 'rejected') return;
    vllm.success.inc({
      model_name: vllm.modelName(),
      finished_reason: end?.finishReason === 'length' ? 'length' : VLLM_REASONS[outcome],
    });
    vllm.histograms.duration.observe({ model_name: vllm.modelName() }, seconds);
  }
}
