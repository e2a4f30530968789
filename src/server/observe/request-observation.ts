import type { ErrorCode } from '../../base/errors.ts';
import type { CaptionTask } from '../../admission/types.ts';
import type { CaptionEnd, CaptionEvent, MediaReport, Priority, TextDelta } from '../../output/events.ts';
import type { Recorded } from './metrics.ts';

type Outcome = 'ok' | 'error' | 'aborted' | 'rejected';

/** What a log line tells of a request that ended. */
export interface RequestSummary {
  readonly outcome: Outcome;
  /** of a request that failed */
  readonly code: ErrorCode | undefined;
  readonly seconds: number;
  readonly firstTokenSeconds: number | undefined;
  readonly generatedTokens: number;
  readonly job: Pick<CaptionTask, 'source' | 'request'> | undefined;
  readonly end: CaptionEnd | undefined;
}

/** Errors of a server that does not take the request now; whoever refused it has counted why. */
const REJECTED: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['queue_full', 'rate_limited', 'unauthorized']);
/** Counted by the server as they happen, whichever way the request ends. */
const SERVER_STAGES: ReadonlySet<string> = new Set(['queue', 'fetch']);
const MODALITIES = ['text', 'video', 'audio', 'image'] as const;
const VLLM_REASONS: Readonly<Record<Outcome, string>> = {
  ok: 'stop',
  error: 'error',
  aborted: 'abort',
  rejected: 'error',
};

/** One request as the metrics see it: counted once, whichever way it ends. */
export class RequestObservation {
  readonly #metrics: Recorded;
  readonly #startedMs = performance.now();
  /** when each sample's last token came */
  readonly #lastTokenMs = new Map<number, number>();
  #job: Pick<CaptionTask, 'source' | 'request'> | undefined;
  #firstTokenSeconds: number | undefined;
  #tokens = 0;
  #summary: RequestSummary | undefined;
  #onEnd: (() => void) | undefined;

  constructor(metrics: Recorded) {
    this.#metrics = metrics;
  }

  /** undefined until it has ended; an estimate never does, since nothing is captioned */
  get summary(): RequestSummary | undefined {
    return this.#summary;
  }

  /** a caption is being made */
  get running(): boolean {
    return this.#job !== undefined && this.#summary === undefined;
  }

  whenEnded(tell: () => void): void {
    this.#onEnd = tell;
  }

  /** The same events, counted as they pass. */
  async *watch(
    events: AsyncIterable<CaptionEvent>,
    job: Pick<CaptionTask, 'source' | 'request'>,
  ): AsyncGenerator<CaptionEvent> {
    this.#job = job;
    for await (const event of events) {
      this.#count(event);
      yield event;
    }
  }

  /** A request that failed before or after its events; without effect when its ending was already seen. */
  refuse(code: ErrorCode): void {
    if (code === 'aborted') this.#end('aborted', { code });
    else if (REJECTED.has(code) || (code === 'engine_unavailable' && this.#job === undefined))
      this.#end('rejected', { code });
    else this.#fail(code);
  }

  #count(event: CaptionEvent): void {
    switch (event.type) {
      case 'stage':
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
        this.#fail(event.code);
        return;
      case 'caption-aborted':
        this.#end('aborted', { code: 'aborted' });
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
    // Tokens that only together make a character come together.
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

  #fail(code: ErrorCode): void {
    if (this.#summary === undefined && (code.startsWith('media_') || code === 'context_length_exceeded'))
      this.#metrics.mediaErrors.inc({ reason: code });
    this.#end('error', { code });
  }

  #end(outcome: Outcome, { code, end }: { readonly code?: ErrorCode; readonly end?: CaptionEnd }): void {
    if (this.#summary !== undefined) return;
    const seconds = this.#seconds();
    this.#summary = {
      outcome,
      code,
      seconds,
      firstTokenSeconds: this.#firstTokenSeconds,
      generatedTokens: this.#tokens,
      job: this.#job,
      end,
    };
    const priority: Priority | 'unread' = this.#job?.request.priority ?? 'unread';
    this.#metrics.requests.inc({ outcome, finish_reason: end?.finishReason ?? outcome, class: priority });
    this.#metrics.generationTokens.inc(this.#tokens);
    if (outcome !== 'rejected') this.#metrics.duration.observe(seconds);
    this.#countForVllm(outcome, seconds, end);
    this.#onEnd?.();
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
