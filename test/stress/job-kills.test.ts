// Servers with jobs are killed, stopped and woken: every item ends once, and nothing is lost.
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { engineOf } from '../fixtures/engine-processes.ts';
import { examplePath } from '../fixtures/examples.ts';
import { noPostgres, startPostgres, type TestPostgres } from '../fixtures/postgres.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { SeededRandom } from '../fixtures/seeded-random.ts';
import { makeSmallDisk, noSmallDisk, type SmallDisk } from '../fixtures/small-disk.ts';
import { spawnServer, type SpawnedServer } from '../fixtures/spawned-server.ts';
import { isLongStress, stressSize } from '../fixtures/stress-size.ts';

const KILLS = stressSize('kills', { short: 1, long: 25 });

/** What befalls three servers on one PostgreSQL, one after the other. */
type Blow =
  | 'kill a server'
  | 'kill an engine'
  | 'stop a server and wake it later'
  | 'kill the database'
  | 'fill the disk of the database';
const OFTEN: Readonly<Record<Blow, number>> = {
  'kill a server': 15,
  'kill an engine': 10,
  'stop a server and wake it later': 6,
  'kill the database': 10,
  'fill the disk of the database': noSmallDisk() === undefined ? 5 : 0,
};
const BLOWS: readonly Blow[] = isLongStress
  ? shuffled((Object.keys(OFTEN) as Blow[]).flatMap((blow) => Array.from({ length: OFTEN[blow] }, () => blow)))
  : ['kill a server', 'stop a server and wake it later', 'kill the database'];

function shuffled<T>(all: readonly T[]): T[] {
  const random = new SeededRandom(11);
  return all
    .map((one) => ({ one, at: random.below(1e9) }))
    .sort((left, right) => left.at - right.at)
    .map(({ one }) => one);
}

/** PostgreSQL takes some 40 MB at first. */
const ROOM_KILOBYTES = 300 * 1024;
const FULL_MS = 3000;

interface Progress {
  readonly status: string;
  readonly request_counts: Readonly<Record<'total' | 'completed' | 'failed', number>>;
}

const scratch = scratchDirectory();
const servers = new Set<SpawnedServer>();
let postgres: TestPostgres | undefined;
/** of the database, where it is to be full at times */
let disk: SmallDisk | undefined;
let started = 0;

afterEach(async () => {
  for (const server of servers) {
    server.kill('SIGKILL');
    await server.ended;
  }
  servers.clear();
  await postgres?.stop();
  postgres = undefined;
  disk?.remove();
  disk = undefined;
});

async function start(args: readonly string[]): Promise<SpawnedServer> {
  started += 1;
  const flags = ['--media-root', `m=${media()}`, '--slots', '2', '--threads', '1', '--job-lease-seconds', '3'];
  const server = await spawnServer([...flags, ...args], scratch(`tmp-${started}`));
  servers.add(server);
  return server;
}

async function kill(server: SpawnedServer): Promise<void> {
  server.kill('SIGKILL');
  await server.ended;
  servers.delete(server);
}

function media(): string {
  const directory = scratch('media');
  mkdirSync(directory, { recursive: true });
  copyFileSync(examplePath('square-4s.mp4'), join(directory, 'a.mp4'));
  return directory;
}

async function makeJob({ url }: SpawnedServer, size: number, key = 'the job'): Promise<string> {
  const items = Array.from({ length: size }, (_, n) => ({
    media: n % 9 === 4 ? 'media://m/none.mp4' : 'media://m/a.mp4',
    max_tokens: 4,
    prompt: `Say it, ${n}.`, // the same work would be done once
  }));
  const response = await fetch(`${url}/v1/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': key },
    body: JSON.stringify({ items }),
  });
  const job = (await response.json()) as { readonly id: string };
  expect(response.status, JSON.stringify(job)).toBe(201);
  return job.id;
}

/** @returns undefined while the server or its database is away */
async function progress(server: SpawnedServer, id: string): Promise<Progress | undefined> {
  const { exitCode, signalCode } = server.child;
  if (exitCode !== null || signalCode !== null)
    throw new Error(`The server ended with ${exitCode ?? signalCode ?? ''}: ${server.stdout()}${server.stderr()}`);
  const response = await fetch(`${server.url}/v1/jobs/${id}`);
  return response.ok ? ((await response.json()) as Progress) : undefined;
}

async function until(server: SpawnedServer, id: string, done: (job: Progress) => boolean): Promise<Progress> {
  for (;;) {
    const job = await progress(server, id);
    if (job !== undefined && done(job)) return job;
    await sleep(50);
  }
}

const ended = ({ request_counts: { completed, failed } }: Progress): number => completed + failed;

/** Every item has one line, and the counts are those of the lines. */
async function check(server: SpawnedServer, id: string, size: number): Promise<void> {
  const job = await until(server, id, ({ status }) => status === 'completed');
  const text = await (await fetch(`${server.url}/v1/jobs/${id}/results`)).text();
  const lines = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { readonly index: number; readonly status: string });
  expect(lines.map(({ index }) => index)).toEqual(Array.from({ length: size }, (_, n) => n));
  const failed = lines.filter(({ status }) => status === 'failed').map(({ index }) => index);
  expect(failed).toEqual(lines.map(({ index }) => index).filter((n) => n % 9 === 4));
  expect(job.request_counts).toMatchObject({
    total: size,
    completed: size - failed.length,
    failed: failed.length,
  });
}

describe('a job', () => {
  it('of a server that is killed in the middle of it goes on at its next start, each item once', async () => {
    const random = new SeededRandom(5);
    const directory = scratch('embedded');
    const size = 10 * KILLS + 6;
    let server = await start(['--jobs-dir', directory]);
    const id = await makeJob(server, size);
    for (let kills = 0; kills < KILLS; kills++) {
      const before = ended(await until(server, id, () => true));
      await until(server, id, (job) => ended(job) > before || job.status === 'completed');
      await sleep(random.below(200));
      await kill(server);
      server = await start(['--jobs-dir', directory]);
    }
    expect(await makeJob(server, size)).toBe(id); // asked for again, it is the same
    await check(server, id, size);
  });

  const why = noPostgres();
  it.skipIf(why !== undefined)(
    why === undefined
      ? 'of three servers on one PostgreSQL outlives that they and the database are killed, and one stopped and woken'
      : `of three servers on one PostgreSQL (skipped: ${why})`,
    async () => {
      if (BLOWS.includes('fill the disk of the database')) {
        // PostgreSQL has a user of its own, who may not look into our own directories.
        disk = makeSmallDisk(mkdtempSync(join(tmpdir(), 'avocado-disk-')), ROOM_KILOBYTES);
      } else if (isLongStress) console.warn(`No disk is filled: ${noSmallDisk() ?? ''}`);
      postgres = await startPostgres(disk?.path);
      await new Replicas(postgres).run();
    },
    3_600_000,
  );
});

/** Three servers on one database, and what befalls them. */
class Replicas {
  readonly #postgres: TestPostgres;
  readonly #random = new SeededRandom(3);
  readonly #size = isLongStress ? 300 : 16;
  #awake: SpawnedServer[] = [];
  #stopped: SpawnedServer | undefined;
  #jobs: string[] = [];

  constructor(database: TestPostgres) {
    this.#postgres = database;
  }

  async run(): Promise<void> {
    this.#awake = await Promise.all([this.#start(), this.#start(), this.#start()]);
    for (const blow of BLOWS) {
      await this.#untilSomeEnd();
      await sleep(this.#random.below(200));
      await this.#strike(blow);
    }
    this.#stopped?.kill('SIGCONT'); // what it still commits of before is refused
    const all = this.#stopped === undefined ? this.#awake : [...this.#awake, this.#stopped];
    for (const server of all) for (const id of this.#jobs) await check(server, id, this.#size);
    console.warn(`${BLOWS.length} blows fell on ${this.#jobs.length * this.#size} items.`);
  }

  #start(): Promise<SpawnedServer> {
    return start(['--database', this.#postgres.url]);
  }

  /** Some items of the newest job have ended since; another job when all have. */
  async #untilSomeEnd(): Promise<void> {
    const [server] = this.#awake;
    if (server === undefined) throw new Error('All servers are gone.');
    const some = 1 + this.#random.below(3);
    for (;;) {
      const id = this.#jobs.at(-1) ?? (await this.#make(server));
      const from = ended(await until(server, id, () => true));
      const job = await until(server, id, (now) => ended(now) >= from + some || now.status === 'completed');
      if (job.status !== 'completed' || !isLongStress) return;
      await this.#make(server);
    }
  }

  async #make(server: SpawnedServer): Promise<string> {
    const id = await makeJob(server, this.#size, `job ${this.#jobs.length}`);
    this.#jobs.push(id);
    return id;
  }

  /** Others take all room for a while. A database that cannot write its log gives up; then it is started again. */
  async #fillDisk(): Promise<void> {
    if (disk === undefined) throw new Error('The database is on no small disk.');
    const other = join(disk.path, 'other');
    const { bavail, bsize } = statfsSync(disk.path);
    try {
      writeFileSync(other, Buffer.alloc(bavail * bsize));
    } catch (thrown) {
      if (!(thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOSPC')) throw thrown;
      // The database has taken some of it.
    }
    await sleep(FULL_MS);
    rmSync(other);
    await this.#postgres.revive();
  }

  async #strike(blow: Blow): Promise<void> {
    const victim = this.#awake[this.#random.below(this.#awake.length)];
    if (victim === undefined) throw new Error('All servers are gone.');
    const others = this.#awake.filter((one) => one !== victim);
    const engine = engineOf(victim.child);
    switch (blow) {
      case 'kill a server':
        await kill(victim);
        this.#awake = isLongStress ? [...others, await this.#start()] : others;
        return;
      case 'kill an engine':
        if (engine !== undefined) process.kill(engine, 'SIGKILL');
        return;
      case 'stop a server and wake it later':
        this.#stopped?.kill('SIGCONT');
        victim.kill('SIGSTOP');
        this.#awake = this.#stopped === undefined ? others : [...others, this.#stopped];
        this.#stopped = victim;
        return;
      case 'kill the database':
        await this.#postgres.crash();
        return;
      case 'fill the disk of the database':
        await this.#fillDisk();
        return;
      default:
        blow satisfies never;
    }
  }
}
