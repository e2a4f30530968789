import type { CaptionerModel } from '../captioner/captioner.ts';
import { AvocadoError } from '../base/errors.ts';
import type { EngineChild } from './fork-engine.ts';
import { HangWatch, type HangLimits } from './hang-watch.ts';
import { thrownError, type EngineSettings, type FromEngine } from './messages.ts';
import { RemoteRequests } from './remote-requests.ts';
import type { StatsLedger } from './stats-ledger.ts';

/** Granularity of the hang limits. */
const MOST_TICK_MS = 1000;

/** What a life tells its supervisor; `lost`, then `ended` come once, last. */
export interface LifeObserver {
  progress(text: string, done: number, total: number): void;
  described(model: CaptionerModel): void;
  ready(model: CaptionerModel): void;
  /** It answers no more: it crashed, or is being killed for a hang. */
  lost(why: string): void;
  /** The process has gone. @param refusal why it could not start, in its own words */
  ended(why: string, refusal: AvocadoError | undefined): void;
}

/** One engine process from its start to its end. A supervisor has one after the other. */
export class EngineLife {
  readonly requests: RemoteRequests;
  readonly #child: EngineChild;
  readonly #observer: LifeObserver;
  readonly #ledger: StatsLedger;
  readonly #watch: HangWatch;
  readonly #tick: NodeJS.Timeout;
  #over = false;
  #refusal: AvocadoError | undefined;
  #why = '';

  constructor(
    child: EngineChild,
    settings: EngineSettings,
    limits: HangLimits,
    ledger: StatsLedger,
    observer: LifeObserver,
  ) {
    this.#child = child;
    this.#observer = observer;
    this.#ledger = ledger;
    this.#watch = new HangWatch(limits);
    this.requests = new RemoteRequests((message) => {
      child.send(message);
    });
    this.#tick = this.#startWatch(Math.min(limits.heartbeatTimeoutMs / 4, limits.stallMs / 4, MOST_TICK_MS));
    child.onMessage((message) => {
      if (!this.#over) this.#take(message);
    });
    void child.ended.then((why) => {
      this.#lose(`The engine process ${why}.`);
      observer.ended(this.#why, this.#refusal);
    });
    child.send({ type: 'open', settings });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Asks it to end what runs and to exit; kills it when that takes longer than `limitMs`. Resolves when it has gone. */
  async close(limitMs: number): Promise<void> {
    const tooLong = setTimeout(() => {
      this.#child.kill();
    }, limitMs);
    this.#child.send({ type: 'close' });
    await this.#child.ended;
    clearTimeout(tooLong);
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
    switch (message.type) {
      case 'heartbeat':
        this.#watch.heard(message.stats);
        this.#ledger.heard(message);
        return;
      case 'events':
      case 'estimated':
      case 'estimate-failed':
        this.requests.take(message);
        return;
      case 'progress':
        this.#observer.progress(message.text, message.done, message.total);
        return;
      case 'described':
      case 'ready':
        this.#observer[message.type](message.model);
        return;
      case 'failed':
        this.#refusal = thrownError(message.error);
        return;
      default:
        throw new Error(`The engine process said ${JSON.stringify(message satisfies never)}. This is a bug.`);
    }
  }

  /** Nothing more is expected of it: its requests end now, even if the process takes its time to go. */
  #lose(why: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#why = why;
    clearInterval(this.#tick);
    this.#ledger.died();
    this.#observer.lost(why);
    this.requests.end(new AvocadoError('engine_unavailable', `${why} Send the request again.`));
  }
}
