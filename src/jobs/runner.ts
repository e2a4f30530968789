// Works off the items of jobs: takes as many as there is room for, keeps its hold on them, commits each once.
import { setTimeout as sleep } from 'node:timers/promises';
import { asAvocadoError, AvocadoError, type ErrorCode } from '../base/errors.ts';
import { failureClass, pauseMs, RETRY_POLICY, type FailureClass, type RetryPolicy } from '../batch/retry.ts';
import type { Json } from '../output/caption-answer.ts';
import { completedOutcome, failedOutcome } from './item-lines.ts';
import { SameWork, WorkElsewhere, type MakeOnce } from './same-work.ts';
import { SUSPECT_DEATHS, type ItemStore } from './store/item-store.ts';
import type { JobStore } from './store/job-store.ts';
import type { Answer, Claim, Outcome } from './types.ts';

/** Makes the caption of one item. @param once for work that may be the same as another item's @throws AvocadoError */
export type Execute = (claim: Claim, signal: AbortSignal, once: MakeOnce) => Promise<Answer>;

export interface RunnerParts {
  readonly store: JobStore;
  readonly items: ItemStore;
  /** this process, for ever: no other one has had or will have it */
  readonly id: string;
  readonly execute: Execute;
  /** how many items may be in work now */
  readonly capacity: () => number;
  /** default: that of `avocado batch` */
  readonly policy?: RetryPolicy;
  /** the body of an error over HTTP */
  readonly errorBody: (error: AvocadoError) => Readonly<Record<string, Json>>;
  readonly leaseSeconds: number;
  readonly onCommitted: (claim: Claim, outcome: Outcome) => void;
  /** the item was done here, and somebody else had taken it over */
  readonly onSuperseded: (claim: Claim) => void;
  readonly onFault: (error: AvocadoError) => void;
}

/** Jobs that are looked at for work at a time, the oldest first. */
const JOBS_AT_ONCE = 50;
/** Without work, the database is asked so often: other servers tell nothing. */
const IDLE_MS = 1000;
/** After a fault of the database. */
const FAULT_MS = 2000;
/** Of the database, which may be back in a moment; nothing of them is the fault of an item. */
export const DATABASE_FAULTS: readonly ErrorCode[] = ['database_unavailable', 'storage_full'];
/** While the engine is away its items wait so long. */
const ENGINE_PAUSE_SECONDS = 1;
/** Work that another server has is looked for so often. */
const ELSEWHERE_PAUSE_SECONDS = 10;

interface Running {
  readonly claim: Claim;
  readonly stop: AbortController;
  readonly isAlone: boolean;
}

/** Why an item in work is stopped: it is given back, and nothing counts against it. */
function stopped(message: string): AvocadoError {
  return new AvocadoError('aborted', message);
}

export class Runner {
  readonly #parts: RunnerParts;
  readonly #running = new Map<string, Running>();
  readonly #ended = new Set<Promise<void>>();
  readonly #sameWork: SameWork;
  #isStopping = false;
  #turn = 0;
  #wake: () => void = () => undefined;
  #loop: Promise<void> = Promise.resolve();
  #renewal: NodeJS.Timeout | undefined;

  constructor(parts: RunnerParts) {
    this.#parts = parts;
    this.#sameWork = new SameWork(parts.items);
  }

  start(): void {
    this.#loop = this.#work();
    // A fifth: four renewals may fail before the items are lost.
    const everyMs = (this.#parts.leaseSeconds * 1000) / 5;
    this.#renewal = setInterval(() => void this.#renew(), everyMs).unref();
  }

  /** There may be work, or a job may have been cancelled. */
  poke(): void {
    this.#wake();
  }

  /** Stops the items in work of a job that this server has. */
  stopJob(job: string): void {
    for (const { claim, stop } of this.#running.values())
      if (claim.job === job) stop.abort(stopped('The job was cancelled.'));
  }

  /** Takes nothing new. */
  drain(): void {
    this.#isStopping = true;
    this.#wake();
  }

  /** Stops what is still in work, and gives it back. */
  async stop(): Promise<void> {
    this.drain();
    for (const { stop } of this.#running.values()) stop.abort(stopped('The server stops.'));
    await this.#loop;
    await Promise.allSettled(this.#ended);
    clearInterval(this.#renewal);
  }

  async #work(): Promise<void> {
    while (!this.#isStopping) {
      const awoken = new Promise<void>((resolve) => (this.#wake = resolve));
      let pauseMs = IDLE_MS;
      try {
        if (await this.#fill()) continue;
      } catch (thrown) {
        this.#parts.onFault(asAvocadoError(thrown));
        pauseMs = FAULT_MS;
      }
      await Promise.race([awoken, sleep(pauseMs, undefined, { ref: false })]);
    }
  }

  /** @returns whether anything was taken */
  async #fill(): Promise<boolean> {
    const { store, items, capacity, id, leaseSeconds } = this.#parts;
    const hasSuspect = [...this.#running.values()].some(({ isAlone }) => isAlone);
    const room = hasSuspect ? 0 : capacity() - this.#running.size;
    if (room <= 0) return false;
    const jobs = await store.openJobs(JOBS_AT_ONCE);
    this.#turn += 1;
    for (let index = 0; index < jobs.length; index++) {
      const job = jobs[(this.#turn + index) % jobs.length] ?? '';
      // Jobs take turns: one of a million items does not hold up one of ten.
      const limit = jobs.length === 1 ? room : 1;
      const claims = await items.claim(job, id, { limit, leaseSeconds, suspects: false });
      for (const claim of claims) this.#start(claim, false);
      if (claims.length > 0) return true;
      if (this.#running.size > 0) continue;
      const [suspect] = await items.claim(job, id, { limit: 1, leaseSeconds, suspects: true });
      if (suspect === undefined) continue;
      this.#start(suspect, true);
      return true;
    }
    return false;
  }

  #start(claim: Claim, isAlone: boolean): void {
    const key = keyOf(claim);
    const stop = new AbortController();
    this.#running.set(key, { claim, stop, isAlone });
    const ended = this.#run(claim, stop.signal, isAlone)
      .catch((thrown: unknown) => {
        // The database is away: the lease ends, and somebody takes the item again.
        this.#parts.onFault(asAvocadoError(thrown));
      })
      .finally(() => {
        this.#running.delete(key);
        this.#ended.delete(ended);
        this.#wake();
      });
    this.#ended.add(ended);
  }

  async #run(claim: Claim, signal: AbortSignal, isAlone: boolean): Promise<void> {
    const { execute, policy = RETRY_POLICY, items } = this.#parts;
    const { attempts, deaths } = claim;
    const once: MakeOnce = (work, make) => this.#sameWork.once(claim, signal, work, make);
    const done = await execute(claim, signal, once).catch((thrown: unknown) => asAvocadoError(thrown));
    if (!(done instanceof AvocadoError)) {
      await this.#commit(claim, attempts + 1, completedOutcome(claim, attempts + 1, done));
      return;
    }
    const error = done;
    if (error.code === 'database_unavailable') throw error;
    if (signal.aborted) {
      await items.release(claim, { attempts, deaths, pauseSeconds: 0 });
      return;
    }
    if (error instanceof WorkElsewhere) {
      await items.release(claim, { attempts, deaths, pauseSeconds: ELSEWHERE_PAUSE_SECONDS });
      return;
    }
    const kind = classOf(error);
    if (kind === 'engine' && this.#isStopping) await items.release(claim, { attempts, deaths, pauseSeconds: 0 });
    else if (kind === 'engine') {
      const isPoison = isAlone && deaths + 1 >= SUSPECT_DEATHS + policy.deathsAlone;
      if (isPoison) await this.#fail(claim, attempts + 1, poison(error));
      else await items.release(claim, { attempts, deaths: deaths + 1, pauseSeconds: ENGINE_PAUSE_SECONDS });
    } else if (kind !== 'never' && attempts + 1 < policy.attempts) {
      const pauseSeconds = pauseMs(attempts + 1, policy) / 1000;
      await items.release(claim, { attempts: attempts + 1, deaths, pauseSeconds });
    } else await this.#fail(claim, attempts + 1, error);
  }

  async #fail(claim: Claim, attempts: number, error: AvocadoError): Promise<void> {
    await this.#commit(claim, attempts, failedOutcome(claim, attempts, error, this.#parts.errorBody(error)));
  }

  async #commit(claim: Claim, attempts: number, outcome: Outcome): Promise<void> {
    const { items, onCommitted, onSuperseded, leaseSeconds } = this.#parts;
    // The work is done: it is worth waiting for a database that comes back while the lease lasts.
    const until = performance.now() + leaseSeconds * 1000;
    for (;;) {
      try {
        if (await items.commit(claim, attempts, outcome)) onCommitted(claim, outcome);
        else onSuperseded(claim);
        return;
      } catch (thrown) {
        const error = asAvocadoError(thrown);
        if (!DATABASE_FAULTS.includes(error.code) || performance.now() > until) throw error;
        this.#parts.onFault(error);
        await sleep(FAULT_MS / 2, undefined, { ref: false });
      }
    }
  }

  /** Renews the leases, and stops what was lost or cancelled. */
  async #renew(): Promise<void> {
    const { items, id, leaseSeconds, onFault } = this.#parts;
    const before = [...this.#running.values()];
    if (before.length === 0) return;
    const claims = before.map(({ claim }) => claim);
    try {
      const held = new Map((await items.renew(id, leaseSeconds, claims)).map((one) => [keyOf(one), one]));
      for (const { claim, stop } of before) {
        const one = held.get(keyOf(claim));
        if (one === undefined) stop.abort(stopped('Another server has taken the item.'));
        else if (one.status === 'cancelling' || one.status === 'expiring')
          stop.abort(stopped('The job was cancelled.'));
      }
    } catch (thrown) {
      onFault(asAvocadoError(thrown));
    }
  }
}

/** The causes of an error do not cross the process line, so that every fetch that failed may go well later. */
function classOf(error: AvocadoError): FailureClass {
  return error.code === 'media_unreachable' ? 'passing' : failureClass(error);
}

function keyOf({ job, n, token }: Pick<Claim, 'job' | 'n' | 'token'>): string {
  return `${job}/${n}/${token}`;
}

function poison({ message }: AvocadoError): AvocadoError {
  return new AvocadoError('engine_error', `The engine process died while it had this file alone. ${message}`);
}
