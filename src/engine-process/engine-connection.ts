// The server's side of one engine process, from its start to its end.
import { abortError } from '../base/abort.ts';
import { asAvocadoError, AvocadoError } from '../base/errors.ts';
import { ProgressWatch } from '../base/progress-watch.ts';
import type { CaptionerModel, CaptionerStats, Estimate, SubmitOptions } from '../captioner/captioner.ts';
import { isEnding } from '../output/ending.ts';
import type { CaptionEvent, CaptionRequest } from '../output/events.ts';
import type { EngineSettings } from '../settings/engine-settings.ts';
import type { EngineChild } from './fork-engine.ts';
import { thrownError, type FromEngine, type ToEngine } from './messages.ts';
import type { StatsAccumulator } from './stats-accumulator.ts';

export interface HangLimits {
  /** longest silence of a process whose main loop should send four heartbeats a second */
  readonly heartbeatTimeoutMs: number;
  /** longest silence before the first heartbeat: starting a program takes long on a busy machine */
  readonly startTimeoutMs: number;
  /** longest time of work without progress */
  readonly stallMs: number;
}

/**
 * Detects a hung process: it is silent, or busy without progress. Time counts only as it is told, and never much at
 * once, so that a server which was itself suspended does not mistake that for the engine's silence.
 */
export class HangWatch {
  readonly #limits: HangLimits;
  readonly #progress = new ProgressWatch();
  #beating = false;
  #silentMs = 0;

  constructor(limits: HangLimits) {
    this.#limits = limits;
  }

  /** a heartbeat; `stats` undefined while a model is being opened */
  heard(stats: Pick<CaptionerStats, 'busy' | 'progress'> | undefined): void {
    this.#beating = true;
    this.#silentMs = 0;
    if (stats !== undefined) this.#progress.observe(stats);
  }

  /**
   * @param elapsedMs since the last call
   * @param intervalMs what it should have been
   * @returns what is wrong, as the rest of a sentence about the process; undefined: nothing
   */
  tick(elapsedMs: number, intervalMs: number): string | undefined {
    const countedMs = Math.min(elapsedMs, 2 * intervalMs);
    const { heartbeatTimeoutMs, startTimeoutMs, stallMs } = this.#limits;
    this.#silentMs += countedMs;
    this.#progress.advance(countedMs);
    if (this.#silentMs >= (this.#beating ? heartbeatTimeoutMs : startTimeoutMs))
      return `gave no sign of life for ${seconds(this.#silentMs)}`;
    const { stalledMs } = this.#progress;
    return stalledMs >= stallMs ? `made no progress for ${seconds(stalledMs)}` : undefined;
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
}

/** What a connection reports to its supervisor; `lost`, then `ended` come once, last. */
export interface ConnectionObserver {
  progress(text: string, done: number, total: number): void;
  described(model: CaptionerModel): void;
  ready(model: CaptionerModel): void;
  /** It answers no more: it crashed, or is being killed for a hang. */
  lost(why: string): void;
  /** The process has gone. @param refusal why it could not start, in its own words */
  ended(why: string, refusal: AvocadoError | undefined): void;
}

export interface ConnectionOptions {
  readonly settings: EngineSettings;
  readonly warmUpFile: string;
  readonly limits: HangLimits;
  readonly stats: StatsAccumulator;
  readonly observer: ConnectionObserver;
}

/** How often the hang limits are checked, at least. */
const LONGEST_TICK_MS = 1000;

/**
 * How a submission went: `unstarted` = the process died while the request waited to be admitted, or was not to start
 * it, so it can be submitted again.
 */
export type Submitted = 'ended' | 'unstarted';

/** Of a captioner's submission, and what only its engine processes know. */
export interface ConnectionSubmitOptions extends SubmitOptions {
  /** asked when the request is admitted: is this still the process to start it? */
  readonly startsHere?: (() => boolean) | undefined;
}

interface PendingCaption {
  readonly options: ConnectionSubmitOptions;
  /** planned, but not started: nothing of it is lost with the process */
  waiting: boolean;
  aborted: boolean;
  readonly settle: (how: Submitted) => void;
}

interface PendingEstimate {
  readonly resolve: (estimate: Estimate) => void;
  readonly reject: (error: AvocadoError) => void;
}

export class EngineConnection {
  readonly #child: EngineChild;
  readonly #options: ConnectionOptions;
  readonly #watch: HangWatch;
  readonly #captions = new Map<number, PendingCaption>();
  readonly #estimates = new Map<number, PendingEstimate>();
  #tick: NodeJS.Timeout | undefined;
  #nextId = 0;
  #lost: string | undefined;
  #refusal: AvocadoError | undefined;

  constructor(child: EngineChild, options: ConnectionOptions) {
    this.#child = child;
    this.#options = options;
    this.#watch = new HangWatch(options.limits);
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** captions that it works on; not those that wait to be admitted */
  get working(): number {
    return [...this.#captions.values()].filter(({ waiting }) => !waiting).length;
  }

  /** Listens to the process and tells it to open the model. Called once. */
  open(): void {
    const { settings, warmUpFile, limits, observer } = this.#options;
    this.#tick = this.#startWatch(Math.min(limits.heartbeatTimeoutMs / 4, limits.stallMs / 4, LONGEST_TICK_MS));
    this.#child.onMessage((message) => {
      if (this.#lost === undefined) this.#take(message);
    });
    void this.#child.ended.then((why) => {
      const lost = this.#lose(`The engine process ${why}.`);
      observer.ended(lost, this.#refusal);
    });
    this.#send({ type: 'open', settings, warmUpFile });
  }

  /** Asks it to end what runs and to exit; kills it after `limitMs`. Resolves when it has gone. */
  async close(limitMs: number): Promise<void> {
    const tooLong = setTimeout(() => {
      this.#child.kill();
    }, limitMs);
    this.#send({ type: 'close' });
    await this.#child.ended;
    clearTimeout(tooLong);
  }

  /** As Captioner.submit; but see {@link Submitted}. */
  async submit(request: CaptionRequest, options: ConnectionSubmitOptions): Promise<Submitted> {
    const { signal, onEvent } = options;
    if (signal.aborted) {
      onEvent({ type: 'caption-aborted' });
      return 'ended';
    }
    const id = this.#nextId++;
    const abort = (): void => {
      const caption = this.#captions.get(id);
      if (caption === undefined) return;
      caption.aborted = true;
      this.#send({ type: 'abort', id });
    };
    signal.addEventListener('abort', abort, { once: true });
    try {
      return await new Promise<Submitted>((settle) => {
        this.#captions.set(id, { options, waiting: false, aborted: false, settle });
        if (this.#lost === undefined) {
          this.#send({ type: 'caption', id, request, gated: options.admit !== undefined });
        } else this.#fail(id, this.#unavailable(this.#lost));
      });
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** @throws AvocadoError as Captioner.estimate */
  async estimate(request: CaptionRequest, signal?: AbortSignal): Promise<Estimate> {
    if (this.#lost !== undefined) throw this.#unavailable(this.#lost);
    if (signal?.aborted === true) throw abortError(signal);
    const id = this.#nextId++;
    const abort = (): void => {
      this.#send({ type: 'abort', id });
      this.#estimates.get(id)?.reject(abortError(signal));
    };
    try {
      return await new Promise<Estimate>((resolve, reject) => {
        this.#estimates.set(id, { resolve, reject });
        signal?.addEventListener('abort', abort, { once: true });
        this.#send({ type: 'estimate', id, request });
      });
    } finally {
      signal?.removeEventListener('abort', abort);
      this.#estimates.delete(id);
    }
  }

  #startWatch(intervalMs: number): NodeJS.Timeout {
    let lastMs = performance.now();
    return setInterval(() => {
      const nowMs = performance.now();
      const hang = this.#watch.tick(nowMs - lastMs, intervalMs);
      lastMs = nowMs;
      if (hang === undefined) return;
      this.#lose(`The engine process ${hang}, and was killed.`);
      this.#child.kill();
    }, intervalMs).unref();
  }

  #take(message: FromEngine): void {
    const { observer, stats } = this.#options;
    switch (message.type) {
      case 'heartbeat':
        this.#watch.heard(message.stats);
        stats.heard(message);
        return;
      case 'events':
        for (const { id, events } of message.batches) for (const event of events) this.#deliver(id, event);
        return;
      case 'estimated':
        this.#estimates.get(message.id)?.resolve(message.estimate);
        this.#admit(message.id, message.estimate);
        return;
      case 'estimate-failed':
        this.#estimates.get(message.id)?.reject(thrownError(message.error));
        return;
      case 'progress':
        observer.progress(message.text, message.done, message.total);
        return;
      case 'described':
      case 'ready':
        observer[message.type](message.model);
        return;
      case 'failed':
        this.#refusal = thrownError(message.error);
        return;
      case 'broken':
        this.#lose(`The engine process was killed, as its device failed. ${message.why}`);
        this.#child.kill();
        return;
      default:
        throw new Error(`The engine process said ${JSON.stringify(message satisfies never)}. This is a bug.`);
    }
  }

  /**
   * Asks the submitter whether the caption may start, and tells the engine. A refusal is the caption's ending.
   */
  #admit(id: number, estimate: Estimate): void {
    const caption = this.#captions.get(id);
    if (caption?.options.admit === undefined) return;
    caption.waiting = true;
    caption.options.admit(estimate).then(
      () => {
        if (!this.#captions.has(id)) return;
        const { startsHere = () => true } = caption.options;
        if (caption.aborted || startsHere()) {
          caption.waiting = false;
          this.#send({ type: 'start', id });
        } else {
          this.#send({ type: 'abort', id });
          this.#captions.delete(id);
          caption.settle('unstarted');
        }
      },
      (thrown: unknown) => {
        if (!this.#captions.has(id) || caption.aborted) return;
        this.#send({ type: 'abort', id });
        this.#fail(id, asAvocadoError(thrown));
      },
    );
  }

  /** Events of captions that have ended here are dropped; of an aborted one only the ending is reported, as aborted. */
  #deliver(id: number, event: CaptionEvent): void {
    const caption = this.#captions.get(id);
    if (caption === undefined) return;
    const ending = isEnding(event);
    if (ending) this.#captions.delete(id);
    if (!caption.aborted) caption.options.onEvent(event);
    else if (ending) caption.options.onEvent({ type: 'caption-aborted' });
    if (ending) caption.settle('ended');
  }

  #fail(id: number, { code, message, param, retryAfterSeconds }: AvocadoError): void {
    this.#deliver(id, {
      type: 'caption-error',
      code,
      message,
      ...(param === undefined ? {} : { param }),
      ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    });
  }

  /**
   * Nothing more is expected of the process: its requests end now, even if it takes its time to go.
   * @returns the first reason
   */
  #lose(why: string): string {
    if (this.#lost !== undefined) return this.#lost;
    this.#lost = why;
    clearInterval(this.#tick);
    this.#options.stats.died();
    this.#options.observer.lost(why);
    const error = this.#unavailable(why);
    for (const [id, caption] of [...this.#captions]) {
      if (!caption.waiting || caption.aborted) this.#fail(id, error);
      else {
        this.#captions.delete(id);
        caption.settle('unstarted');
      }
    }
    for (const { reject } of this.#estimates.values()) reject(error);
    return why;
  }

  #unavailable(why: string): AvocadoError {
    return new AvocadoError('engine_unavailable', `${why} Send the request again.`);
  }

  #send(message: ToEngine): void {
    this.#child.send(message);
  }
}
