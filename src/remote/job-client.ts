// Items on their way through a server: put into jobs, watched, and their lines brought back. A job is removed when all
// its lines are here. Jobs of a process that died are taken over: what they have done is not done again.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { asAvocadoError, AvocadoError } from '../base/errors.ts';
import type { CaptionOptions } from '../captioner/caption-options.ts';
import type { ServerClient } from './server-client.ts';

/** The library that items are of: its name, and which of the processes that work on it are dead. */
export interface Library {
  readonly id: string;
  /** this process */
  readonly worker: string;
  isDead(worker: string): boolean;
}

export interface JobItem {
  /** names its work, so that the next process finds it again */
  readonly id: string;
  readonly media: string;
  readonly options: CaptionOptions;
}

/** An item's line in the results of its job. */
export type ItemLine = Readonly<Record<string, unknown>>;

interface Asking {
  /** undefined: its job is gone */
  readonly resolve: (line: ItemLine | undefined) => void;
  readonly reject: (error: AvocadoError) => void;
}

interface Waiting extends JobItem, Asking {}

interface OpenJob {
  readonly id: string;
  readonly isOurs: boolean;
  /** by index */
  readonly waiting: Map<number, Asking>;
}

interface JobAnswer {
  readonly id: string;
  readonly metadata: Readonly<Record<string, string>> | null;
  readonly status: string;
}

interface ItemAnswer {
  readonly index: number;
  readonly id: string;
  readonly status: string;
}

interface Page<T> {
  readonly data: readonly T[];
  readonly has_more: boolean;
}

export interface JobClientOptions {
  readonly client: ServerClient;
  readonly library: Library;
  /** so many items are enough to keep the server busy while the next ones are collected */
  readonly enough: number;
  readonly pollMs?: number | undefined;
}

/** Of the metadata of our jobs. */
const LIBRARY = 'avocado_library';
const WORKER = 'avocado_worker';
const POLL_MS = 1000;
const IDLE_MS = 3600_000;
/** Items that come together make one job. */
const GATHER_MS = 100;
const MOST_ITEMS = 64;
const PAGE = 1000;

export class JobClient {
  readonly #options: JobClientOptions;
  readonly #jobs = new Map<string, OpenJob>();
  /** items of jobs that were taken over, by their id */
  readonly #known = new Map<string, { readonly job: OpenJob; readonly index: number }>();
  readonly #pending: Waiting[] = [];
  readonly #closing = new AbortController();
  #wake: () => void = () => undefined;
  #work: Promise<void> | undefined;
  #failure: AvocadoError | undefined;

  constructor(options: JobClientOptions) {
    this.#options = options;
  }

  /** Why no more items are taken. */
  get failure(): AvocadoError | undefined {
    return this.#failure;
  }

  /** Takes over the jobs that a process that died left on the server. */
  async takeOver(signal: AbortSignal): Promise<void> {
    const { client, library } = this.#options;
    for await (const { id, metadata, status } of pages<JobAnswer>(client, '/v1/jobs', signal, ({ id: last }) => last)) {
      if (metadata?.[LIBRARY] !== library.id || !library.isDead(metadata[WORKER] ?? '')) continue;
      const job: OpenJob = { id, isOurs: false, waiting: new Map() };
      this.#jobs.set(id, job);
      const items = pages<ItemAnswer>(client, `/v1/jobs/${id}/items`, signal, ({ index }) => String(index));
      for await (const item of items)
        if (status !== 'cancelling' && !['cancelled', 'expired'].includes(item.status))
          this.#known.set(item.id, { job, index: item.index });
    }
  }

  /** The line of an item that a dead process had sent; undefined: it has to be sent. Given once. */
  async known(id: string): Promise<ItemLine | undefined> {
    const known = this.#known.get(id);
    if (known === undefined || this.#failure !== undefined) return undefined;
    this.#known.delete(id);
    if (!this.#jobs.has(known.job.id)) return undefined;
    this.#start();
    return await new Promise((resolve, reject) => known.job.waiting.set(known.index, { resolve, reject }));
  }

  /** @throws AvocadoError `engine_unavailable` when the server is given up */
  async send(item: JobItem): Promise<ItemLine> {
    if (this.#failure !== undefined) throw this.#failure;
    const line = await new Promise<ItemLine | undefined>((resolve, reject) => {
      this.#pending.push({ ...item, resolve, reject });
      this.#start();
    });
    if (line === undefined) throw new Error('A job of ours went without an error. This is a bug.');
    return line;
  }

  /** Nothing more is asked of the server; items in work end with the error. */
  fail(error: AvocadoError): void {
    this.#failure ??= error;
    for (const { reject } of this.#pending.splice(0)) reject(this.#failure);
    for (const { waiting } of this.#jobs.values()) {
      for (const { reject } of waiting.values()) reject(this.#failure);
      waiting.clear();
    }
  }

  /** Removes the jobs, with what is still in work. */
  async close(): Promise<void> {
    this.#closing.abort(new AvocadoError('aborted', 'The run has ended.'));
    await this.#work;
    this.fail(new AvocadoError('aborted', 'The run has ended.'));
    await Promise.all([...this.#jobs.keys()].map((id) => this.#remove(id)));
  }

  #start(): void {
    this.#work ??= this.#run().catch((thrown: unknown) => {
      if (this.#closing.signal.aborted) return;
      // Whatever the server refuses, it refuses for all items: none of them is to blame.
      const { message } = asAvocadoError(thrown);
      this.fail(new AvocadoError('engine_unavailable', message, { cause: thrown }));
    });
    this.#wake();
  }

  async #run(): Promise<void> {
    const { pollMs = POLL_MS } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted && this.#failure === undefined) {
      const awoken = new Promise<void>((resolve) => (this.#wake = resolve));
      const isIdle = this.#inWork === 0 && this.#pending.length === 0;
      const pause = sleep(isIdle ? IDLE_MS : pollMs, undefined, { signal, ref: !isIdle }).catch(() => undefined);
      await (this.#inWork === 0 ? Promise.race([awoken, pause]) : pause);
      await this.#sendPending();
      for (const job of this.#jobs.values()) await this.#collect(job);
    }
  }

  get #inWork(): number {
    return [...this.#jobs.values()].reduce((sum, { waiting }) => sum + waiting.size, 0);
  }

  /** Few jobs of many items, but never a server that waits for one. */
  async #sendPending(): Promise<void> {
    const { client, library, enough } = this.#options;
    const { signal } = this.#closing;
    if (this.#pending.length === 0 || (this.#inWork > enough && this.#pending.length < MOST_ITEMS / 2)) return;
    await sleep(GATHER_MS, undefined, { signal });
    const group = this.#pending.slice(0, MOST_ITEMS);
    const { id } = await client.json<JobAnswer>(
      {
        method: 'POST',
        path: '/v1/jobs',
        headers: { 'idempotency-key': randomUUID() },
        body: {
          items: group.map(({ id: name, media, options }) => ({ id: name, media, ...options })),
          metadata: { client: 'avocado batch', [LIBRARY]: library.id, [WORKER]: library.worker },
        },
      },
      signal,
    );
    this.#pending.splice(0, group.length);
    this.#jobs.set(id, { id, isOurs: true, waiting: new Map(group.entries()) });
  }

  async #collect(job: OpenJob): Promise<void> {
    const { client } = this.#options;
    const { signal } = this.#closing;
    if (job.waiting.size > 0) {
      const items: ItemAnswer[] = [];
      const listed = pages<ItemAnswer>(client, `/v1/jobs/${job.id}/items`, signal, ({ index }) => String(index));
      try {
        for await (const item of listed) if (job.waiting.has(item.index)) items.push(item);
      } catch (thrown) {
        if (!(thrown instanceof AvocadoError) || thrown.code !== 'not_found' || job.isOurs) throw thrown;
        this.#drop(job); // another process took it over as well, and was done with it
        return;
      }
      if (items.some(({ status }) => status === 'cancelled' || status === 'expired'))
        throw new AvocadoError('engine_unavailable', `The job was cancelled on the server. ${AGAIN}`);
      const done = items.filter(({ status }) => status === 'completed' || status === 'failed');
      if (done.length > 0) await this.#bring(job, done);
    }
    if (job.isOurs && job.waiting.size === 0) {
      this.#jobs.delete(job.id);
      await this.#remove(job.id);
    }
  }

  #drop({ id, waiting }: OpenJob): void {
    this.#jobs.delete(id);
    for (const { resolve } of waiting.values()) resolve(undefined);
    waiting.clear();
  }

  async #bring({ id, waiting }: OpenJob, items: readonly ItemAnswer[]): Promise<void> {
    const { client } = this.#options;
    const numbers = items.map(({ index }) => index).join(',');
    const path = `/v1/jobs/${id}/results?index=${numbers}`;
    const text = await client.text({ method: 'GET', path }, this.#closing.signal);
    for (const line of text.split('\n').filter((one) => one !== '')) {
      const told = JSON.parse(line) as ItemLine;
      const index = Number(told['index']);
      waiting.get(index)?.resolve(told);
      waiting.delete(index);
    }
  }

  /** A job that stays is taken over by the next run. */
  async #remove(id: string): Promise<void> {
    const call = { method: 'DELETE', path: `/v1/jobs/${id}` } as const;
    await this.#options.client
      .impatient()
      .text(call, AbortSignal.timeout(5000))
      .catch(() => undefined);
  }
}

const AGAIN = 'Run the same command again to go on.';

/** All entries of a list, page by page. */
export async function* pages<T>(
  client: ServerClient,
  path: string,
  signal: AbortSignal,
  nameOf: (last: T) => string,
): AsyncGenerator<T> {
  for (let after = ''; ;) {
    const query = `${path.includes('?') ? '&' : '?'}limit=${PAGE}${after === '' ? '' : `&after=${after}`}`;
    const page = await client.json<Page<T>>({ method: 'GET', path: path + query }, signal);
    yield* page.data;
    const last = page.data.at(-1);
    if (!page.has_more || last === undefined) return;
    after = nameOf(last);
  }
}
