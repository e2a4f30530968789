// One job of very many items on a real database, with an engine that answers at once: how fast items are put in, how
// long a claim takes from the first item to the last, and whether the server's memory grows. Usage:
// npx tsx test/bench/queue.ts [--items N] [--measured N] [--embedded] [--in-work N]
// `--measured` items at the beginning and as many at the end run as a server runs them. Those between them are claimed
// and committed a thousand a statement; PostgreSQL is told to vacuum after every hundred thousand, as it does by itself
// in time. Default: all.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { AvocadoError } from '../../src/base/errors.ts';
import { Jobs, type OpenJobs } from '../../src/jobs/jobs.ts';
import { openEmbedded, openPostgres, type Database } from '../../src/jobs/store/database.ts';
import type { Job } from '../../src/jobs/types.ts';
import { noPostgres, startPostgres } from '../fixtures/postgres.ts';

const { values } = parseArgs({
  options: {
    items: { type: 'string', default: '1000000' },
    measured: { type: 'string', default: 'all' },
    embedded: { type: 'boolean', default: false },
    'in-work': { type: 'string', default: '16' },
  },
});
const items = Number(values.items);
const measured = values.measured === 'all' ? items : Math.min(items, Number(values.measured));
const inWork = Number(values['in-work']);
const MOVED_AT_ONCE = 1000;
const VACUUM_EVERY = 100_000;
const OWNER = '';

/** What each kind of statement took, in ms, in the order in which they ended. */
const took: Record<'claim' | 'commit' | 'insert' | 'other', number[]> = {
  claim: [],
  commit: [],
  insert: [],
  other: [],
};

function kindOf(text: string): keyof typeof took {
  if (/^with picked as/.test(text)) return 'claim';
  if (/^with mine as/.test(text)) return 'commit';
  return /^insert into avocado\.items/.test(text) ? 'insert' : 'other';
}

function timed(database: Database): Database {
  return {
    ...database,
    query: async (text, params) => {
      const startedMs = performance.now();
      try {
        return await database.query(text, params);
      } finally {
        took[kindOf(text)].push(performance.now() - startedMs);
      }
    },
  };
}

function quantile(numbers: readonly number[], part: number): number {
  const sorted = numbers.toSorted((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN;
}

function spread(numbers: readonly number[]): object {
  const round = (part: number): number => Number(quantile(numbers, part).toFixed(2));
  return { count: numbers.length, p50_ms: round(0.5), p99_ms: round(0.99), max_ms: round(1) };
}

/** The largest resident set since it was asked last. */
class Memory {
  #mostMiB = 0;

  constructor() {
    setInterval(() => {
      this.#look();
    }, 500).unref();
  }

  take(): number {
    this.#look();
    const most = this.#mostMiB;
    this.#mostMiB = 0;
    return Math.round(most);
  }

  #look(): void {
    this.#mostMiB = Math.max(this.#mostMiB, process.memoryUsage.rss() / 1024 ** 2);
  }
}

function* lines(): Generator<Uint8Array> {
  for (let n = 0; n < items; n += 1000) {
    const block = Array.from({ length: Math.min(1000, items - n) }, (_, index) => {
      const media = `media://films/archive/${(n + index) % 977}/reel-${n + index}.mp4`;
      return JSON.stringify({ media, id: `item-${n + index}`, max_tokens: 300 });
    });
    yield Buffer.from(`${block.join('\n')}\n`);
  }
}

async function until(open: OpenJobs, id: string, isDone: (job: Job) => boolean): Promise<Job> {
  for (;;) {
    const job = await open.store.find(id, OWNER);
    if (job === undefined) throw new Error('The job is gone.');
    if (isDone(job)) return job;
    await sleep(200);
  }
}

const ended = ({ completed, failed }: Job): number => completed + failed;

/** Claims and commits what is between the two parts that are measured. */
async function moveOn(database: Database, id: string, upTo: number): Promise<void> {
  for (let n = await count(database, id); n < upTo; n += MOVED_AT_ONCE) {
    const some = Math.min(MOVED_AT_ONCE, upTo - n);
    await database.query(
      `update avocado.items i set state = 'running', token = token + 1, runner = 'bench', lease_until = now() + interval '1 minute'
       from (select job, n from avocado.items where job = $1 and state = 'ready' and not_before <= now()
         order by not_before, n limit $2 for update skip locked) p where i.job = p.job and i.n = p.n`,
      [id, some],
    );
    await database.query(
      `with mine as (update avocado.items set state = 'completed', line = $2, attempts = 1, finished_at = now(),
         runner = null, lease_until = null where job = $1 and state = 'running' and runner = 'bench' returning 1)
       update avocado.jobs set completed = completed + (select count(*) from mine)::int where id = $1`,
      [id, 'x'.repeat(500)],
    );
    if (postgres !== undefined && n % VACUUM_EVERY < MOVED_AT_ONCE) await database.run('vacuum avocado.items');
  }
}

async function count(database: Database, id: string): Promise<number> {
  const [found] = await database.query<{ readonly completed: number }>(
    'select completed from avocado.jobs where id = $1',
    [id],
  );
  return found?.completed ?? 0;
}

const why = values.embedded ? undefined : noPostgres();
if (why !== undefined) throw new Error(`Not measured: ${why}.`);
const directory = await mkdtemp(join(tmpdir(), 'avocado-queue-'));
const postgres = values.embedded ? undefined : await startPostgres();
const memory = new Memory();
const opened: { database?: Database } = {};
const jobs = new Jobs({
  openDatabase: async () => {
    opened.database = await (postgres === undefined ? openEmbedded(directory) : openPostgres(postgres.url));
    return timed(opened.database);
  },
  isAlone: postgres === undefined,
  isEager: true,
  leaseSeconds: 60,
  execute: () =>
    Promise.resolve({
      body: { caption: 'A caption of some length. '.repeat(16) },
      promptTokens: 4000,
      completionTokens: 100,
      mediaSeconds: 10,
    }),
  capacity: () => inWork,
  errorBody: ({ message }) => ({ error: message }),
  webhooks: undefined,
  onCommitted: () => undefined,
  onSuperseded: () => undefined,
  onFault: (error) => {
    console.error(error.message);
  },
});

function theDatabase(): Database {
  if (opened.database === undefined) throw new Error('No database was opened.');
  return opened.database;
}

function tell(what: string, numbers: object): void {
  console.log(JSON.stringify({ [what]: numbers }));
}

/** Takes what was measured since the last call. */
function taken(kind: keyof typeof took): readonly number[] {
  return took[kind].splice(0);
}

async function putIn(open: OpenJobs): Promise<string> {
  const full = (): AvocadoError => new AvocadoError('storage_full', 'The file is larger than the bench thought.');
  const limits = { maxBytes: 2 ** 40, maxStoredBytes: 2 ** 40, tooLarge: full, full };
  let bytes = 0;
  for (const block of lines()) bytes += block.length;
  const file = { owner: OWNER, purpose: 'job', filename: 'list.jsonl', bytes, expiresSeconds: undefined };
  const { id: inputFile } = await open.files.save(file, asyncOf(lines()), limits);
  const startedMs = performance.now();
  const { id } = await open.store.create({
    ...{ kind: 'job', owner: OWNER, endpoint: '/v1/captions', inputFile, options: {} },
    ...{ metadata: undefined, webhook: undefined, idempotencyKey: undefined, requestHash: undefined },
    ...{ windowSeconds: undefined, window: undefined, outputSeconds: undefined },
  });
  const { total } = await until(open, id, ({ status }) => status !== 'validating');
  const seconds = (performance.now() - startedMs) / 1000;
  if (total !== items) throw new Error(`${total} of ${items} items were put in.`);
  tell('insert', { items, seconds, items_per_second: items / seconds, memory_mib: memory.take() });
  return id;
}

async function* asyncOf(chunks: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

/** What a claim costs the database itself, whatever else the machine does: pages that it reads, and its time. */
async function costOf(id: string): Promise<object> {
  const [row] = await theDatabase().query<{ readonly 'QUERY PLAN': unknown }>(
    `explain (analyze, buffers, format json) select job, n from avocado.items where job = $1 and state = 'ready'
     and not_before <= now() and (deaths >= 2) = false order by not_before, n limit 1 for update skip locked`,
    [id],
  );
  const told = row?.['QUERY PLAN'];
  const [plan] = (typeof told === 'string' ? JSON.parse(told) : told) as [Record<string, unknown>];
  const { 'Shared Hit Blocks': hit = 0, 'Shared Read Blocks': read = 0 } = plan['Plan'] as Record<string, number>;
  return { pages: hit + read, ms: plan['Execution Time'] };
}

/** A job of as many items is cancelled: how long that takes, and the longest statement of it. */
async function cancelled(open: OpenJobs): Promise<void> {
  const id = await putIn(open);
  for (const kind of Object.keys(took) as (keyof typeof took)[]) taken(kind);
  const startedMs = performance.now();
  await open.store.cancel(id, OWNER);
  const { cancelled: count, completed } = await until(open, id, ({ status }) => status === 'cancelled');
  if (count + completed !== items) throw new Error(`${count} of ${items} items were cancelled.`);
  const seconds = (performance.now() - startedMs) / 1000;
  tell('cancel', { items: count, seconds, longest_statement_ms: quantile(taken('other'), 1) });
}

/** Runs items until so many have ended, and tells of each tenth of them. */
async function runTo(open: OpenJobs, id: string, upTo: number): Promise<void> {
  const from = ended(await until(open, id, () => true));
  for (const kind of Object.keys(took) as (keyof typeof took)[]) taken(kind);
  const startedMs = performance.now();
  for (let part = 1; part <= 10; part++) {
    const goal = from + Math.ceil(((upTo - from) * part) / 10);
    const at = ended(await until(open, id, (job) => ended(job) >= goal || job.status === 'completed'));
    const [claim, commit] = [spread(taken('claim')), spread(taken('commit'))];
    const cost = await costOf(id);
    tell('run', { ended: at, claim, cost, commit, other: spread(taken('other')), memory_mib: memory.take() });
  }
  const seconds = (performance.now() - startedMs) / 1000;
  tell('rate', { items: upTo - from, seconds, items_per_second: (upTo - from) / seconds });
}

try {
  const open = await jobs.open();
  const id = await putIn(open);
  if (2 * measured >= items) await runTo(open, id, items);
  else {
    await runTo(open, id, measured);
    await open.store.pause(id, OWNER);
    await sleep(1000); // what is in work ends
    await moveOn(theDatabase(), id, items - measured);
    await open.store.resume(id, OWNER);
    await runTo(open, id, items);
  }
  const job = await until(open, id, ({ status }) => status === 'completed');
  const [sums] = await theDatabase().query<{ readonly items: number; readonly claims: number }>(
    `select count(*)::int as items, sum(token)::int as claims from avocado.items where job = $1 and state = 'completed'`,
    [id],
  );
  if (job.completed !== items || sums?.items !== items || sums.claims !== items)
    throw new Error(`Of ${items} items, ${JSON.stringify(sums)} were committed, and the job counts ${job.completed}.`);
  console.log(`${items} items were claimed once and committed once.`);
  await cancelled(open);
} finally {
  await jobs.close();
  await postgres?.stop();
  await rm(directory, { recursive: true, force: true });
}
