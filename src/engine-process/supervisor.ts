import type { CaptionerModel, CaptionerState, CaptionerStats, CaptionerStatus } from '../captioner/captioner.ts';
import { AvocadoError } from '../base/errors.ts';
import { BackOff, type BackOffTimes } from './back-off.ts';
import { EngineLife } from './engine-life.ts';
import type { ForkEngine } from './fork-engine.ts';
import type { HangLimits } from './hang-watch.ts';
import type { EngineSettings } from './messages.ts';
import { StatsLedger } from './stats-ledger.ts';
import { Waiters } from './waiters.ts';

export interface SupervisorOptions {
  readonly settings: EngineSettings;
  readonly limits: HangLimits;
  readonly restart: BackOffTimes;
  readonly fork: ForkEngine;
  readonly onProgress?: ((text: string, done: number, total: number) => void) | undefined;
  /** a sentence about each fault and what is done about it */
  readonly onFault?: ((sentence: string) => void) | undefined;
}

/** Crashes of a process that never was ready. Later ones have no limit: then it is known that it can work. */
const MOST_FIRST_STARTS = 3;
const CLOSE_LIMIT_MS = 10_000;

/**
 * Keeps one engine process alive: loading → ready → restarting → ready … → stopped. A first start that is refused (no such
 * checkpoint, no such device) is not repeated; whatever happens after it was ready once is, with growing pauses.
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #backOff: BackOff;
  readonly #ledger = new StatsLedger();
  readonly #ready = new Waiters<EngineLife>();
  readonly #described = new Waiters<CaptionerModel>();
  #status: CaptionerStatus = {
    state: 'loading',
    text: 'Starting the engine process',
    done: 0,
    total: 1,
    restarts: 0,
    pid: undefined,
  };
  #life: EngineLife | undefined;
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
    return { ...this.#status, pid: this.#life?.pid };
  }

  stats(): CaptionerStats {
    return this.#ledger.stats();
  }

  /** What was said of it last; undefined until the first process has read the model's small files. */
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
  ready(signal?: AbortSignal): Promise<EngineLife> {
    return this.#ready.wait(signal);
  }

  /** Ends what runs, and the process. Nothing can be asked any more. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#stop(new AvocadoError('engine_unavailable', 'The engine has been stopped. Start the server again.'));
    await this.#life?.close(CLOSE_LIMIT_MS);
  }

  #start(): void {
    if (!this.#wasReady) this.#firstStarts++;
    const life: EngineLife = new EngineLife(
      this.#options.fork(),
      this.#options.settings,
      this.#options.limits,
      this.#ledger,
      {
        progress: (text, done, total) => {
          this.#tell(this.#status.state, text, done, total);
          this.#options.onProgress?.(text, done, total);
        },
        described: (model) => {
          this.#model ??= model;
          this.#described.resolve(model);
        },
        ready: (model) => {
          this.#becomeReady(life, model);
        },
        lost: (why) => {
          this.#ready.reset();
          if (this.#status.state !== 'stopped') this.#tell('restarting', why, 0, 1);
        },
        ended: (why, refusal) => {
          this.#replace(why, refusal);
        },
      },
    );
    this.#life = life;
  }

  #becomeReady(life: EngineLife, model: CaptionerModel): void {
    if (this.#status.state === 'stopped') return;
    this.#model = model;
    this.#wasReady = true;
    this.#readySinceMs = performance.now();
    this.#tell('ready', '', 1, 1);
    this.#ready.resolve(life);
  }

  /** After the process has gone. */
  #replace(why: string, refusal: AvocadoError | undefined): void {
    const healthyForMs = this.#readySinceMs === undefined ? 0 : performance.now() - this.#readySinceMs;
    this.#life = undefined;
    this.#readySinceMs = undefined;
    if (this.#status.state === 'stopped') return;
    if (!this.#wasReady && refusal !== undefined) {
      this.#stop(refusal);
      return;
    }
    const reason = refusal === undefined ? why : `The engine process cannot start: ${refusal.message}`;
    if (!this.#wasReady && this.#firstStarts >= MOST_FIRST_STARTS) {
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
    this.#tell('restarting', text, 0, 1);
    this.#options.onFault?.(text);
    this.#pause = setTimeout(() => {
      this.#start();
    }, delayMs);
  }

  #stop(why: AvocadoError): void {
    if (this.#status.state === 'stopped') return;
    clearTimeout(this.#pause);
    this.#tell('stopped', why.message, 0, 1);
    this.#ready.reject(why);
    this.#described.reject(why);
  }

  #tell(state: CaptionerState, text: string, done: number, total: number): void {
    this.#status = { ...this.#status, state, text, done, total };
  }
}
