// The door to PostgreSQL: a server by its URL, or PGlite in a directory, which is the same SQL inside a thread of this
// process. Every query is one statement and one transaction, so both need no more than this interface.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import pg from 'pg';
import { AvocadoError } from '../../base/errors.ts';
import { makeDirectory } from '../../base/make-directory.ts';
import { workerEntry } from '../../base/worker-entry.ts';

export type Param = string | number | boolean | null | Uint8Array | readonly string[] | readonly number[];

export interface Database {
  /** One statement, which is one transaction. @throws AvocadoError `database_unavailable`, `storage_full` */
  query<Row = Readonly<Record<string, unknown>>>(text: string, params?: readonly Param[]): Promise<readonly Row[]>;
  /** Several statements: all of them happen, or none. */
  run(script: string): Promise<void>;
  /** resolves with the reason when it cannot be used any more */
  readonly lost: Promise<string>;
  close(): Promise<void>;
}

/** Connections of one server to its database. */
const CONNECTIONS = 8;
const CONNECT_MS = 5000;
/** A statement that takes so long is a fault. */
const STATEMENT_MS = 60_000;
/** How often a statement is tried that met another one in a deadlock, of which the database ended one. */
const DEADLOCK_TRIES = 4;

/** PostgreSQL's classes of errors: connection, resources, intervention of an operator, system. */
const OUTAGE = /^(08|53|57|58|25006)/;
const DEADLOCK = /^(40001|40P01)$/;
const NO_ROOM = /^53100$/;
const SQLSTATE = /^[0-9A-Z]{5}$/;

function codeOf(thrown: unknown): string {
  const { code } = thrown as { readonly code?: unknown };
  return typeof code === 'string' ? code : '';
}

function unavailable(reason: string, cause: unknown): AvocadoError {
  const text = `The database of jobs cannot be used right now (${reason}). Try again later.`;
  return new AvocadoError('database_unavailable', text, { cause, retryAfterSeconds: 5 });
}

/** PostgreSQL's text cannot hold NUL, which may be in whatever clients send. */
function storable(params: readonly Param[]): Param[] {
  const clean = <T>(value: T): T => (typeof value === 'string' ? (value.replaceAll('\0', '\uFFFD') as T) : value);
  return params.map((param) => (Array.isArray(param) ? (param as readonly string[]).map(clean) : clean(param)));
}

/** An error of SQL itself is a bug of ours; everything else is the state of the database. */
function databaseError(thrown: unknown): unknown {
  if (thrown instanceof AvocadoError) return thrown;
  const code = codeOf(thrown);
  if (NO_ROOM.test(code))
    return new AvocadoError('storage_full', 'The disk of the database is full. Try again later.', { cause: thrown });
  if (SQLSTATE.test(code) && !OUTAGE.test(code)) return thrown;
  return unavailable(code === '' ? 'no connection' : code, thrown);
}

async function retried<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (thrown) {
      if (!DEADLOCK.test(codeOf(thrown)) || tries === DEADLOCK_TRIES) throw databaseError(thrown);
    }
  }
}

/**
 * A PostgreSQL server. Connections are made when they are needed, and again when they broke.
 * @throws AvocadoError `database_unavailable` when it cannot be reached
 */
export async function openPostgres(url: string): Promise<Database> {
  const pool = new pg.Pool({
    connectionString: url,
    max: CONNECTIONS,
    connectionTimeoutMillis: CONNECT_MS,
    statement_timeout: STATEMENT_MS,
    query_timeout: STATEMENT_MS + CONNECT_MS,
    keepAlive: true,
    application_name: 'avocado-captioner',
  });
  pool.on('error', () => undefined); // an idle connection broke: the next query gets another
  const run = async (text: string, params?: readonly Param[]): Promise<readonly unknown[]> =>
    retried(async () => {
      const { rows } = (await pool.query(text, params === undefined ? undefined : [...params])) as { rows?: unknown[] };
      return rows ?? [];
    });
  try {
    await run('select 1');
  } catch (thrown) {
    await pool.end();
    throw thrown;
  }
  return {
    query: async <Row>(text: string, params: readonly Param[] = []) =>
      (await run(text, storable(params))) as readonly Row[],
    run: async (script) => {
      await run(script);
    },
    lost: new Promise(() => undefined),
    close: () => pool.end(),
  };
}

export interface EmbeddedRequest {
  readonly id: number;
  /** 'close' ends the thread when all before it is done */
  readonly type: 'query' | 'run' | 'close';
  readonly text: string;
  readonly params: readonly Param[];
}

export type EmbeddedReply =
  | { readonly type: 'open' }
  | { readonly type: 'refused'; readonly reason: string }
  | { readonly type: 'lost'; readonly reason: string }
  | { readonly type: 'rows'; readonly id: number; readonly rows: readonly unknown[] }
  | { readonly type: 'failed'; readonly id: number; readonly message: string; readonly code: string };

/** Whether a directory holds a database: its jobs are to go on when the server starts. */
export function hasEmbedded(directory: string): boolean {
  return existsSync(join(directory, 'pglite'));
}

/**
 * PGlite in a thread of its own: its work never holds up the server's event loop. One process at a time has the
 * directory.
 * @throws AvocadoError `directory_unwritable`; `database_unavailable` when another process has it
 */
export async function openEmbedded(directory: string): Promise<Database> {
  try {
    makeDirectory(directory);
  } catch (cause) {
    const text = `${directory} cannot be made (${codeOf(cause)}). Choose another directory with --jobs-dir.`;
    throw new AvocadoError('directory_unwritable', text, { cause });
  }
  const thread = new EmbeddedThread(directory);
  try {
    await thread.opened;
  } catch (thrown) {
    await thread.end();
    throw thrown;
  }
  return {
    query: async <Row>(text: string, params: readonly Param[] = []) =>
      (await thread.ask('query', text, storable(params))) as readonly Row[],
    run: async (script) => {
      await thread.ask('run', script);
    },
    lost: thread.lost,
    close: async () => {
      await thread.ask('close').catch(() => undefined);
      await thread.end();
    },
  };
}

interface Waiting {
  readonly resolve: (rows: readonly unknown[]) => void;
  readonly reject: (error: unknown) => void;
}

class EmbeddedThread {
  readonly opened: Promise<void>;
  readonly lost: Promise<string>;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #sayLost: (reason: string) => void = () => undefined;
  #gone: string | undefined;
  #last = 0;

  constructor(directory: string) {
    const { filename, execArgv } = workerEntry(import.meta.url, './pglite-worker');
    this.#worker = new Worker(filename, { execArgv, workerData: directory });
    this.lost = new Promise((resolve) => (this.#sayLost = resolve));
    this.opened = new Promise((resolve, reject) => {
      this.#worker.on('message', (reply: EmbeddedReply) => {
        if (reply.type === 'open') resolve();
        else if (reply.type === 'refused') reject(unavailable(reply.reason, undefined));
        else if (reply.type === 'lost') this.#lose(reply.reason);
        else this.#take(reply);
      });
      const end = (reason: string, cause?: Error): void => {
        this.#lose(reason);
        reject(unavailable(reason, cause));
      };
      this.#worker.on('error', (error: Error) => {
        end(error.message, error);
      });
      this.#worker.on('exit', () => {
        end('its thread has ended');
      });
    });
  }

  ask(type: EmbeddedRequest['type'], text = '', params: readonly Param[] = []): Promise<readonly unknown[]> {
    return retried(
      () =>
        new Promise((resolve, reject) => {
          if (this.#gone !== undefined) throw unavailable(this.#gone, undefined);
          this.#last += 1;
          this.#waiting.set(this.#last, { resolve, reject });
          this.#worker.postMessage({ id: this.#last, type, text, params } satisfies EmbeddedRequest);
        }),
    );
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  #take(reply: Extract<EmbeddedReply, { readonly id: number }>): void {
    const one = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (reply.type === 'rows') one?.resolve(reply.rows);
    else one?.reject(Object.assign(new Error(reply.message), { code: reply.code }));
  }

  #lose(reason: string): void {
    this.#gone ??= reason;
    for (const { reject } of this.#waiting.values()) reject(unavailable(this.#gone, undefined));
    this.#waiting.clear();
    this.#sayLost(this.#gone);
  }
}
