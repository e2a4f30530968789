// Which item is tried when: several at a time, so that the engine batches them; those that failed again after a pause;
// those that may have killed the engine alone.
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { withSignal } from '../base/abort.ts';
import { asAvocadoError, type AvocadoError } from '../base/errors.ts';
import type { CaptionerStatus } from '../captioner/captioner.ts';
import { ItemWork, diskError, type Try, type WorkParts } from './item-work.ts';
import { mapAhead, type KnownItem, type Looked } from './look.ts';
import type { Listed } from './inputs.ts';
import { failureClass, pauseMs, type RetryPolicy } from './retry.ts';
import type { ItemFailure, ListingFault } from './types.ts';

/** How an entry of the input ended: exactly one of these for each. */
export type Settled =
  | { readonly state: 'done'; readonly known: KnownItem; readonly result: Try & { readonly kind: 'done' } }
  | { readonly state: 'failed'; readonly known: KnownItem; readonly failure: ItemFailure; readonly isNew: boolean }
  | { readonly state: 'fault'; readonly fault: ListingFault }
  | { readonly state: 'repeated' }
  /** stopped before it was done: the next run goes on with it */
  | { readonly state: 'open' };

export interface RunnerOptions extends WorkParts {
  readonly policy: RetryPolicy;
  /** most items in work at a time */
  readonly inFlight: number;
  readonly engineStatus: () => CaptionerStatus | undefined;
  readonly onSettled: (settled: Settled) => void;
}

/** An item with what happened to it in this run. */
interface Task {
  known: KnownItem;
  /** tries that failed for a passing reason */
  attempts: number;
  /** deaths of the engine while it was in it */
  deaths: number;
  deathsAlone: number;
}

/** Files looked at ahead of those in work. */
const LOOK_AHEAD = 16;
/** Work that another process has is asked for so often. */
const TAKEN_PAUSE_MS = 500;
/** The second death of the engine with an item in it makes it a suspect. */
const SUSPECT_DEATHS = 2;

export class Runner {
  readonly #options: RunnerOptions;
  readonly #work: ItemWork;
  readonly #ready: Task[] = [];
  readonly #suspects: Task[] = [];
  #inWork = 0;
  #pausing = 0;
  #wake: () => void = () => undefined;
  #stopped: AvocadoError | undefined;

  /** aborts with the caller's signal, and when the run stops early */
  readonly #signal: AbortSignal;
  readonly #stopping = new AbortController();

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.#signal = AbortSignal.any([options.signal, this.#stopping.signal]);
    setMaxListeners(0, this.#signal); // one for each item in work
    this.#signal.addEventListener('abort', () => {
      this.#wake();
    });
    this.#work = new ItemWork({ ...options, signal: this.#signal });
  }

  /**
   * Works until every entry has ended, or the signal aborts. @throws AvocadoError what ended the run early:
   * `storage_full`, `engine_unavailable` …; then every entry that was listed is settled, too
   */
  async run(listing: AsyncIterable<Listed>): Promise<void> {
    const { looker } = this.#options;
    const looked = mapAhead(listing, (listed) => looker.look(listed), LOOK_AHEAD);
    let next: Promise<IteratorResult<Looked, unknown>> | undefined = looked.next();
    while (!this.#signal.aborted) {
      const awoken = this.#nextWake();
      if (this.#startWaiting()) continue;
      if (next === undefined || this.#isFull()) {
        if (next === undefined && this.#isIdle()) break;
        await awoken;
        continue;
      }
      const found: IteratorResult<Looked, unknown> | undefined = await Promise.race([next, awoken]).catch(
        (thrown: unknown) => this.#endListing(thrown),
      );
      if (found === undefined) continue;
      if (found.done !== true) this.#enter(found.value);
      next = found.done === true ? undefined : looked.next();
    }
    await this.#leave(next, looked);
    if (this.#stopped !== undefined) throw this.#stopped;
  }

  #nextWake(): Promise<undefined> {
    return new Promise((resolve) => {
      this.#wake = () => {
        resolve(undefined);
      };
    });
  }

  /** A listing that breaks ends the run; what is in work still ends. */
  #endListing(thrown: unknown): IteratorResult<Looked, unknown> {
    this.#stopped ??= asAvocadoError(thrown);
    this.#stopping.abort();
    return { done: true, value: undefined };
  }

  #isIdle(): boolean {
    return this.#inWork + this.#pausing + this.#ready.length + this.#suspects.length === 0;
  }

  #isFull(): boolean {
    return this.#inWork >= this.#options.inFlight || this.#suspects.length > 0;
  }

  /** @returns whether a task was started */
  #startWaiting(): boolean {
    const isFree = this.#suspects.length > 0 ? this.#inWork === 0 : !this.#isFull();
    const task = isFree ? (this.#suspects.shift() ?? this.#ready.shift()) : undefined;
    if (task === undefined) return false;
    this.#start(task);
    return true;
  }

  #enter(looked: Looked): void {
    const { onSettled, keepsOthers } = this.#options;
    if (looked.kind === 'fault') onSettled({ state: 'fault', fault: looked.fault });
    else if (looked.kind === 'repeated') onSettled({ state: 'repeated' });
    else {
      const { known } = looked;
      const { action, isOtherSettings } = known.decision;
      if (action === 'skip') this.#settleSkipped(known);
      else if (isOtherSettings === true && keepsOthers) this.#settleDone(known, 'other-settings');
      else this.#start({ known, attempts: 0, deaths: 0, deathsAlone: 0 });
    }
  }

  #settleSkipped(known: KnownItem): void {
    const failure = known.record?.failure;
    if (failure === undefined) this.#settleDone(known, 'unchanged');
    else this.#options.onSettled({ state: 'failed', known, failure, isNew: false });
  }

  #settleDone(known: KnownItem, state: 'unchanged' | 'other-settings'): void {
    this.#options.onSettled({ state: 'done', known, result: { kind: 'done', state, sidecars: [] } });
  }

  #start(task: Task): void {
    this.#inWork += 1;
    const isAlone = this.#inWork === 1 && task.deaths >= SUSPECT_DEATHS;
    void this.#try(task)
      .then((result) => this.#take(task, result, isAlone))
      .catch((thrown: unknown) => {
        this.#stop(diskError(thrown));
      })
      .finally(() => {
        this.#inWork -= 1;
        this.#wake();
      });
  }

  /** The file may have changed since it failed. */
  async #try(task: Task): Promise<Try> {
    if (task.attempts + task.deaths > 0) task.known = await this.#options.looker.again(task.known);
    return await this.#work.try(task.known);
  }

  async #take(task: Task, result: Try, isAlone: boolean): Promise<void> {
    const { known } = task;
    switch (result.kind) {
      case 'done':
        this.#options.onSettled({ state: 'done', known, result });
        return;
      case 'taken':
        this.#pause(task, result.until ?? sleep(TAKEN_PAUSE_MS));
        return;
      case 'interrupted':
        this.#options.onSettled({ state: 'open' });
        return;
      case 'stop':
        this.#stop(result.error);
        return;
      case 'failed':
        await this.#failed(task, result, isAlone);
        return;
      default:
        throw new Error(`A try ended as ${JSON.stringify(result satisfies never)}. This is a bug.`);
    }
  }

  async #failed(task: Task, result: Try & { readonly kind: 'failed' }, isAlone: boolean): Promise<void> {
    const { policy, engineStatus } = this.#options;
    const { error } = result;
    if (result.isCaptioned === true) {
      await this.#giveUp(task, result, false);
      return;
    }
    const kind = failureClass(error);
    if (kind === 'stop' || (kind === 'engine' && engineStatus()?.state === 'stopped')) this.#stop(error);
    else if (kind === 'engine') {
      task.deaths += 1;
      if (isAlone) task.deathsAlone += 1;
      if (task.deathsAlone >= policy.deathsAlone) await this.#giveUp(task, result, false);
      else if (task.deaths >= SUSPECT_DEATHS) this.#suspects.push(task);
      else this.#ready.push(task);
    } else {
      task.attempts += 1;
      if (kind === 'passing' && task.attempts < policy.attempts)
        this.#pause(task, sleep(pauseMs(task.attempts, policy)));
      else await this.#giveUp(task, result, kind === 'passing');
    }
  }

  async #giveUp(task: Task, result: Try & { readonly kind: 'failed' }, passing: boolean): Promise<void> {
    const { known, deathsAlone } = task;
    const { code, message } = result.error;
    const attempts = Math.max(1, task.attempts, task.deaths);
    const failure: ItemFailure =
      deathsAlone > 0
        ? { code: 'engine_error', message: `${poisonText(deathsAlone)} ${message}`, attempts, passing: false }
        : { code, message, attempts, passing };
    if (result.isCaptioned !== true) await this.#work.keepFailure(known, failure, result.content);
    this.#options.onSettled({ state: 'failed', known, failure, isNew: true });
  }

  #pause(task: Task, until: Promise<unknown>): void {
    this.#pausing += 1;
    void withSignal(until, this.#signal)
      .catch(() => undefined)
      .then(() => {
        this.#pausing -= 1;
        this.#ready.push(task);
        this.#wake();
      });
  }

  /** Ends the run; the item that showed the reason stays open. */
  #stop(error: AvocadoError): void {
    this.#stopped ??= error;
    this.#options.onSettled({ state: 'open' });
    this.#stopping.abort();
  }

  /** After the end or a stop: what is in work ends, and what has not begun stays open. */
  async #leave(
    next: Promise<IteratorResult<Looked, unknown>> | undefined,
    looked: AsyncGenerator<Looked>,
  ): Promise<void> {
    while (this.#inWork > 0 || this.#pausing > 0) {
      await this.#nextWake();
    }
    const left = this.#ready.splice(0).length + this.#suspects.splice(0).length;
    for (let task = 0; task < left; task++) this.#options.onSettled({ state: 'open' });
    if (next === undefined) return;
    try {
      const found = await next;
      if (found.done !== true) this.#settleOpen(found.value);
      await looked.return(undefined);
    } catch (thrown) {
      this.#stopped ??= asAvocadoError(thrown);
    }
  }

  #settleOpen(looked: Looked): void {
    if (looked.kind === 'item') this.#options.onSettled({ state: 'open' });
    else this.#enter(looked);
  }
}

function poisonText(deaths: number): string {
  return `The engine process died ${deaths} times while it had this file alone.`;
}
