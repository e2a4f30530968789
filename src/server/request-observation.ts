import type { ErrorCode } from '../errors.ts';
import type { CaptionEnd, CaptionEvent } from '../stream/events.ts';
import type { Recorded } from './metrics.ts';

/** One request as the metrics see it: counted once, whichever way it ends. */
export class RequestObservation {
  readonly #metrics: Recorded;
  readonly #startedMs = performance.now();
  #ended = false;
  #hasText = false;
  #tokens = 0;

  constructor(metrics: Recorded) {
    this.#metrics = metrics;
  }

  /** The same events, counted as they pass. */
  async *watch(events: AsyncIterable<CaptionEvent>): AsyncGenerator<CaptionEvent> {
    for await (const event of events) {
      this.#count(event);
      yield event;
    }
  }

  /** A request that failed before or after its events; without effect when its ending was already seen. */
  refuse(code: ErrorCode): void {
    if (code === 'aborted') this.#end('aborted', 'aborted');
    else this.#fail(code);
  }

  #count(event: CaptionEvent): void {
    switch (event.type) {
      case 'stage':
        return;
      case 'media':
        for (const modality of ['text', 'video', 'audio', 'image'] as const) this.#metrics.promptTokens.inc({ modality }, event.promptTokens[modality]);
        return;
      case 'text-delta':
        if (!this.#hasText) this.#metrics.firstToken.observe(this.#seconds());
        this.#hasText = true;
        this.#tokens += event.tokenIds.length;
        return;
      case 'caption-end':
        this.#succeed(event);
        return;
      case 'caption-error':
        this.#fail(event.code);
        return;
      case 'caption-aborted':
        this.#end('aborted', 'aborted');
        return;
      default:
        event satisfies never;
    }
  }

  #seconds(): number {
    return (performance.now() - this.#startedMs) / 1000;
  }

  #succeed(end: CaptionEnd): void {
    this.#tokens = end.usage.completionTokens;
    for (const [stage, seconds] of Object.entries(end.timings.stages)) this.#metrics.stages.observe({ stage }, seconds);
    this.#metrics.videoSeconds.inc(end.media.durationSeconds);
    this.#end('ok', end.finishReason);
  }

  #fail(code: ErrorCode): void {
    if (!this.#ended && (code.startsWith('media_') || code === 'context_length_exceeded')) this.#metrics.mediaErrors.inc({ reason: code });
    this.#end('error', 'error');
  }

  #end(outcome: 'ok' | 'error' | 'aborted', finishReason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#metrics.requests.inc({ outcome, finish_reason: finishReason });
    this.#metrics.generationTokens.inc(this.#tokens);
    this.#metrics.duration.observe(this.#seconds());
  }
}
