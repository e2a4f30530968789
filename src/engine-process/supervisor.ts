// Keeps one engine process running: starts it, restarts it after crashes and hangs, reports its state.
import { abortError } from '../base/abort.ts';
import { AvocadoError } from '../base/errors.ts';
import type { CaptionerModel, CaptionerState, CaptionerStats, CaptionerStatus } from '../captioner/captioner.ts';
import type { EngineSettings } from '../settings/engine-settings.ts';
import { EngineConnection, type HangLimits } from './engine-connection.ts';
import { startEngine, type ForkEngine } from './fork-engine.ts';
import { StatsAccumulator } from './stats-accumulator.ts';

export interface BackOffTimes {
  /** before the first restart */
  readonly firstMs: number;
  readonly mostMs: number;
  /** healthy period after which the delay starts again at `firstMs` */
  readonly healthyMs: number;
}

export const RESTART_TIMES: BackOffTimes = { firstMs: 200, mostMs: 30_000, healthyMs: 60_000 };

/** Exponential back-off between restarts, reset after a healthy period. */
export class BackOff {
  readonly #times: BackOffTimes;
  #nextMs: number;

  constructor(times: BackOffTimes) {
    this.#times = times;
    this.#nextMs = times.firstMs;
  }

  /** @param healthyForMs how long the process was healthy before this fault */
  next(healthyForMs: number): number {
    const { firstMs, mostMs, healthyMs } = this.#times;
    const delayMs = healthyForMs >= healthyMs ? firstMs : this.#nextMs;
    this.#nextMs = Math.min(delayMs * 2, mostMs);
    return delayMs;
  }
}

interface Waiter<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: AvocadoError) => void;
}

/** Lets callers wait for a value that may become available, unavailable again, or never. */
class ReadyGate<T> {
  readonly #waiting = new Set<Waiter<T>>();
  #value: T | undefined;
  #failure: AvocadoError | undefined;

  resolve(value: T): void {
    this.#value = value;
    for (const { resolve } of this.#waiting) resolve(value);
  }

  /** Unavailable from now on: callers wait. */
  reset(): void {
    this.#value = undefined;
  }

  /** It will never be available: callers get the error. */
  reject(error: AvocadoError): void {
    this.#value = undefined;
    this.#failure = error;
    for (const { reject } of this.#waiting) reject(error);
  }

  /** undefined while it is not available */
  get value(): T | undefined {
    return this.#value;
  }

  /** @throws AvocadoError `aborted`, or the error given to `reject` */
  async wait(signal?: AbortSignal): Promise<T> {
    if (this.#failure !== undefined) throw this.#failure;
    if (signal?.aborted === true) throw abortError(signal);
    if (this.#value !== undefined) return this.#value;
    let waiter: Waiter<T> | undefined;
    const leave = (): void => {
      waiter?.reject(abortError(signal));
    };
    signal?.addEventListener('abort', leave, { once: true });
    try {
      return await new Promise<T>((resolve, reject) => {
        waiter = { resolve, reject };
        this.#waiting.add(waiter);
      });
    } finally {
      if (waiter !== undefined) this.#waiting.delete(waiter);
      signal?.removeEventListener('abort', leave);
    }
  }
}

export interface SupervisorOptions {
  readonly settings: EngineSettings;
  readonly warmUpFile: string;
  readonly limits: HangLimits;
  readonly restart: BackOffTimes;
  readonly fork: ForkEngine;
  readonly onProgress?: ((text: string, done: number, total: number) => void) | undefined;
  /** a sentence about each fault and what is done about it */
  readonly onFault?: ((sentence: string) => void) | undefined;
}

/** Starts before the process was ever ready. Later restarts are unlimited: it has shown that it can work. */
const MAX_FIRST_STARTS = 3;
/** Well before the server itself gives up its orderly end (listen.ts). */
const CLOSE_LIMIT_MS = 5000;

/**
 * Keeps one engine process alive: loading → ready → restarting → ready … → stopped. A first start that is refused (no
 * such checkpoint, no such device) is not repeated; any later fault leads to a restart, with growing pauses.
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #backOff: BackOff;
  readonly #stats = new StatsAccumulator();
  readonly #ready = new ReadyGate<EngineConnection>();
  readonly #described = new ReadyGate<CaptionerModel>();
  #status: CaptionerStatus = {
    state: 'loading',
    text: 'Starting the engine process',
    done: 0,
    total: 1,
    restarts: 0,
    pid: undefined,
  };
  #connection: EngineConnection | undefined;
  #pause: NodeJS.Timeout | undefined;
  #model: CaptionerModel | undefined;
  #firstStarts = 0;
  #wasReady = false;
  #readySinceMs: number | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#backOff = new BackOff(options.restart);
    this.#start();
  }

  status(): CaptionerStatus {
    return { ...this.#status, pid: this.#connection?.pid };
  }

  stats(): CaptionerStats {
    return this.#stats.stats();
  }

  /** undefined until the first process has read the model's small files */
  get model(): CaptionerModel | undefined {
    return this.#model;
  }

  /** @throws AvocadoError why it cannot be started */
  described(): Promise<CaptionerModel> {
    return this.#described.wait();
  }

  /**
   * The process, once it is ready: now, or after its start or restart.
   * @throws AvocadoError `aborted`; when stopped, why it is (`engine_unavailable` after close)
   */
  ready(signal?: AbortSignal): Promise<EngineConnection> {
    return this.#ready.wait(signal);
  }

  /** the process while it is ready */
  get connection(): EngineConnection | undefined {
    return this.#ready.value;
  }

  /** Ends what runs, and the process. Nothing can be asked any more. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#stop(new AvocadoError('engine_unavailable', 'The engine has been stopped. Start the server again.'));
    await this.#connection?.close(CLOSE_LIMIT_MS);
  }

  #start(): void {
    if (!this.#wasReady) this.#firstStarts++;
    const { fork, settings, warmUpFile, limits, onProgress } = this.#options;
    const connection: EngineConnection = new EngineConnection(startEngine(fork), {
      settings,
      warmUpFile,
      limits,
      stats: this.#stats,
      observer: {
        progress: (text, done, total) => {
          this.#setStatus(this.#status.state, text, done, total);
          onProgress?.(text, done, total);
        },
        described: (model) => {
          this.#model ??= model;
          this.#described.resolve(model);
        },
        ready: (model) => {
          this.#becomeReady(connection, model);
        },
        lost: (why) => {
          this.#ready.reset();
          if (this.#status.state !== 'stopped') this.#setStatus('restarting', why, 0, 1);
        },
        ended: (why, refusal) => {
          this.#replace(why, refusal);
        },
      },
    });
    this.#connection = connection;
    connection.open();
  }

  #becomeReady(connection: EngineConnection, model: CaptionerModel): void {
    if (this.#status.state === 'stopped') return;
    this.#model = model;
    this.#wasReady = true;
    this.#readySinceMs = performance.now();
    this.#setStatus('ready', '', 1, 1);
    this.#ready.resolve(connection);
  }

  /** After the process has gone. */
  #replace(why: string, refusal: AvocadoError | undefined): void {
    const healthyForMs = this.#readySinceMs === undefined ? 0 : performance.now() - this.#readySinceMs;
    this.#connection = undefined;
    this.#readySinceMs = undefined;
    if (this.#status.state === 'stopped') return;
    if (!this.#wasReady && refusal !== undefined) {
      this.#stop(refusal);
      return;
    }
    const reason = refusal === undefined ? why : `The engine process cannot start: ${refusal.message}`;
    if (!this.#wasReady && this.#firstStarts >= MAX_FIRST_STARTS) {
      const advice =
        'If this machine is short of memory, take a smaller precision or model; else run `avocado doctor`.';
      this.#stop(
        new AvocadoError('engine_unavailable', `${reason} It has been tried ${this.#firstStarts} times. ${advice}`),
      );
      return;
    }
    this.#restartLater(reason, this.#backOff.next(healthyForMs));
  }

  #restartLater(reason: string, delayMs: number): void {
    const text = `${reason} It is started again in ${(delayMs / 1000).toFixed(1)} s.`;
    this.#status = { ...this.#status, restarts: this.#status.restarts + 1 };
    this.#setStatus('restarting', text, 0, 1);
    this.#options.onFault?.(text);
    this.#pause = setTimeout(() => {
      this.#start();
    }, delayMs);
  }

  #stop(why: AvocadoError): void {
    if (this.#status.state === 'stopped') return;
    clearTimeout(this.#pause);
    this.#setStatus('stopped', why.message, 0, 1);
    this.#ready.reject(why);
    this.#described.reject(why);
  }

  #setStatus(state: CaptionerState, text: string, done: number, total: number): void {
    this.#status = { ...this.#status, state, text, done, total };
  }
}
