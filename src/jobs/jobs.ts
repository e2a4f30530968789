// The jobs of one server: the database, what runs beside the requests of clients, and what routes ask for.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { asAvocadoError, AvocadoError } from '../base/errors.ts';
import { readInput, wholeFault } from './read-input.ts';
import { DATABASE_FAULTS, Runner, type RunnerParts } from './runner.ts';
import type { Database } from './store/database.ts';
import { FileStore } from './store/file-store.ts';
import { ItemStore } from './store/item-store.ts';
import { JobStore, type JobCounts } from './store/job-store.ts';
import { migrate } from './store/migrations.ts';
import { Webhooks, type WebhookParts } from './webhooks.ts';

export interface JobsParts extends Pick<
  RunnerParts,
  'execute' | 'capacity' | 'policy' | 'errorBody' | 'onCommitted' | 'onSuperseded'
> {
  readonly openDatabase: () => Promise<Database>;
  /** no other server has this database */
  readonly isAlone: boolean;
  /** opened at the start, and not with the first request for it */
  readonly isEager: boolean;
  /** what a dead server had in work is taken by others after so long */
  readonly leaseSeconds: number;
  readonly webhooks: Omit<WebhookParts, 'onGivenUp'> | undefined;
  readonly onFault: (error: AvocadoError) => void;
}

/** What routes work with while there is a database. */
export interface OpenJobs {
  readonly store: JobStore;
  readonly items: ItemStore;
  readonly files: FileStore;
}

interface Opened extends OpenJobs {
  readonly database: Database;
  readonly runner: Runner;
  readonly webhooks: Webhooks | undefined;
}

const INPUT_LEASE_SECONDS = 60;
const SETTLE_MS = 500;
const DELIVER_MS = 2000;
const SWEEP_MS = 60_000;
const COUNT_MS = 5000;
const REOPEN_MS = 2000;
/** A client waits so long for a database that is being opened: making an embedded one takes seconds. */
const PATIENCE_MS = 120_000;

/** A database that is away is told so often: everything that asks for it notices several times a second. */
const SAME_FAULT_MS = 60_000;

function tellSeldom(tell: (error: AvocadoError) => void): (error: AvocadoError) => void {
  const told = new Map<string, number>();
  return (error) => {
    const nowMs = performance.now();
    if (DATABASE_FAULTS.includes(error.code)) {
      if (nowMs - (told.get(error.code) ?? -Infinity) < SAME_FAULT_MS) return;
      told.set(error.code, nowMs);
    }
    tell(error);
  };
}

const NO_COUNTS: JobCounts = {
  jobs: [],
  items: { ready: 0, running: 0, completed: 0, failed: 0, cancelled: 0, expired: 0 },
  oldestSeconds: 0,
};

export class Jobs {
  readonly #parts: JobsParts;
  readonly #stopping = new AbortController();
  #opened: Opened | undefined;
  #opening: Promise<void> | undefined;
  #reason = 'The database of jobs is being opened. Try again later.';
  /** those who wait for the end of an attempt to open it */
  #onTried: (() => void)[] = [];
  #counts = NO_COUNTS;
  #isDraining = false;

  constructor(parts: JobsParts) {
    this.#parts = { ...parts, onFault: tellSeldom(parts.onFault) };
    if (parts.isEager) this.#begin();
  }

  /** As they were a few seconds ago. */
  get counts(): JobCounts {
    return this.#counts;
  }

  /** @throws AvocadoError `database_unavailable` */
  async open(): Promise<OpenJobs> {
    this.#begin();
    if (this.#opened === undefined && !this.#stopping.signal.aborted)
      await Promise.race([
        new Promise<void>((resolve) => this.#onTried.push(resolve)),
        sleep(PATIENCE_MS, undefined, { ref: false }),
      ]);
    if (this.#opened !== undefined) return this.#opened;
    throw new AvocadoError('database_unavailable', this.#reason, { retryAfterSeconds: 5 });
  }

  /** A job was made, or may go on. */
  poke(): void {
    this.#opened?.runner.poke();
  }

  /** Its items in work here are stopped at once; those of other servers within seconds. */
  stopJob(job: string): void {
    this.#opened?.runner.stopJob(job);
  }

  /** Takes no new items; those in work go on. */
  drain(): void {
    this.#isDraining = true;
    this.#opened?.runner.drain();
  }

  /** The server stops: nobody is to wait for the end of a job any more. */
  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** Gives back what is still in work, and closes the database. */
  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#opening;
  }

  #begin(): void {
    if (this.#stopping.signal.aborted) return;
    this.#opening ??= this.#keepOpen();
  }

  /** Opens the database, and again whenever it is lost, until the server stops. */
  async #keepOpen(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        await this.#serve(await this.#connect());
      } catch (thrown) {
        const error = asAvocadoError(thrown);
        this.#reason =
          error.code === 'internal'
            ? 'The database of jobs cannot be opened: the server’s log says why.'
            : error.message;
        this.#parts.onFault(error);
        for (const tell of this.#onTried.splice(0)) tell();
      }
      await sleep(REOPEN_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  async #connect(): Promise<Opened> {
    const { openDatabase, isAlone, webhooks, onFault } = this.#parts;
    const onGivenUp = (sentence: string): void => {
      onFault(new AvocadoError('media_unreachable', sentence));
    };
    const database = await openDatabase();
    try {
      await migrate(database);
      const store = new JobStore(database);
      const items = new ItemStore(database);
      if (isAlone) {
        await items.reap({ all: true });
        await store.forgetReaders();
      }
      const runner = new Runner({ ...this.#parts, store, items, id: randomUUID() });
      return {
        database,
        store,
        items,
        files: new FileStore(database),
        runner,
        webhooks: webhooks === undefined ? undefined : new Webhooks(database, { ...webhooks, onGivenUp }),
      };
    } catch (thrown) {
      await database.close();
      throw thrown;
    }
  }

  /** Until the database is lost or the server stops. */
  async #serve(opened: Opened): Promise<void> {
    const { database, runner, store, files, webhooks } = opened;
    this.#opened = opened;
    for (const tell of this.#onTried.splice(0)) tell();
    const end = new AbortController();
    const stops = new Promise<void>((resolve) => {
      if (this.#stopping.signal.aborted) resolve();
      else
        this.#stopping.signal.addEventListener(
          'abort',
          () => {
            resolve();
          },
          { once: true },
        );
    });
    if (this.#isDraining) runner.drain();
    runner.start();
    const tasks = [
      this.#repeat(SETTLE_MS, end.signal, () => this.#settle(opened)),
      this.#repeat(SETTLE_MS, end.signal, () => this.#readInputs(opened, end.signal)),
      this.#repeat(SWEEP_MS, end.signal, () => files.sweep()),
      this.#repeat(COUNT_MS, end.signal, async () => {
        this.#counts = await store.counts();
      }),
      ...(webhooks === undefined ? [] : [this.#repeat(DELIVER_MS, end.signal, () => webhooks.deliver(end.signal))]),
    ];
    try {
      const reason = await Promise.race([stops, database.lost]);
      if (reason !== undefined)
        throw new AvocadoError('database_unavailable', `The database of jobs is lost: ${reason}.`);
    } finally {
      this.#opened = undefined;
      end.abort();
      await runner.stop();
      await Promise.allSettled(tasks);
      await database.close();
    }
  }

  /** Work that faults is told, and done again after its pause. */
  async #repeat(everyMs: number, signal: AbortSignal, work: () => Promise<unknown>): Promise<void> {
    while (!signal.aborted) {
      await work().catch((thrown: unknown) => {
        this.#parts.onFault(asAvocadoError(thrown));
      });
      await sleep(everyMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  async #settle({ store, items }: OpenJobs): Promise<void> {
    if (!(await store.hasOpenJobs())) return;
    await items.reap({ all: false });
    await store.settle();
  }

  /** Reads the inputs of new jobs, one after the other. */
  async #readInputs({ store, items, files, runner }: Opened, signal: AbortSignal): Promise<void> {
    const reader = randomUUID();
    while (!signal.aborted) {
      const job = await store.claimInput(reader, INPUT_LEASE_SECONDS);
      if (job === undefined) return;
      const input = await files.find(job.input_file, job.owner);
      const end =
        input === undefined
          ? { errors: [wholeFault('invalid_file', 'The input file is gone.')] }
          : await readInput(job, files.read(job.input_file), async (block) =>
              signal.aborted ? false : await items.insert(job.id, reader, INPUT_LEASE_SECONDS, block),
            );
      if (end === undefined) continue; // cancelled, another server reads it, or this one stops
      if ('errors' in end) await store.failInput(job.id, reader, JSON.stringify(end.errors));
      else await store.begin(job.id, reader, end.total);
      if (input?.purpose === 'job') await files.remove(job.input_file, job.owner);
      runner.poke();
    }
  }
}
