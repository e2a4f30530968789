// Servers with jobs are killed, stopped and woken: every item ends once, and nothing is lost.
import { mkdirSync, copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { examplePath } from '../fixtures/examples.ts';
import { noPostgres, startPostgres, type TestPostgres } from '../fixtures/postgres.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { SeededRandom } from '../fixtures/seeded-random.ts';
import { spawnServer, type SpawnedServer } from '../fixtures/spawned-server.ts';
import { stressSize } from '../fixtures/stress-size.ts';

const KILLS = stressSize('kills', { short: 1, long: 25 });
const ITEMS = 10 * KILLS + 6;

interface Progress {
  readonly status: string;
  readonly request_counts: Readonly<Record<'total' | 'completed' | 'failed', number>>;
}

const scratch = scratchDirectory();
const servers = new Set<SpawnedServer>();
let postgres: TestPostgres | undefined;
let started = 0;

afterEach(async () => {
  for (const server of servers) {
    server.kill('SIGKILL');
    await server.ended;
  }
  servers.clear();
  await postgres?.stop();
  postgres = undefined;
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

async function makeJob({ url }: SpawnedServer): Promise<string> {
  const items = Array.from({ length: ITEMS }, (_, n) => ({
    media: n % 9 === 4 ? 'media://m/none.mp4' : 'media://m/a.mp4',
    max_tokens: 4,
    prompt: `Say it, ${n}.`, // the same work would be done once
  }));
  const response = await fetch(`${url}/v1/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': 'the job' },
    body: JSON.stringify({ items }),
  });
  const job = (await response.json()) as { readonly id: string };
  expect(response.status, JSON.stringify(job)).toBe(201);
  return job.id;
}

/** @returns undefined while the server or its database is away */
async function progress({ url }: SpawnedServer, id: string): Promise<Progress | undefined> {
  const response = await fetch(`${url}/v1/jobs/${id}`);
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
async function check(server: SpawnedServer, id: string): Promise<void> {
  const job = await until(server, id, ({ status }) => status === 'completed');
  const text = await (await fetch(`${server.url}/v1/jobs/${id}/results`)).text();
  const lines = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { readonly index: number; readonly status: string });
  expect(lines.map(({ index }) => index)).toEqual(Array.from({ length: ITEMS }, (_, n) => n));
  const failed = lines.filter(({ status }) => status === 'failed').map(({ index }) => index);
  expect(failed).toEqual(lines.map(({ index }) => index).filter((n) => n % 9 === 4));
  expect(job.request_counts).toMatchObject({ total: ITEMS, completed: ITEMS - failed.length, failed: failed.length });
}

describe('a job', () => {
  it('of a server that is killed in the middle of it goes on at its next start, each item once', async () => {
    const random = new SeededRandom(5);
    const directory = scratch('embedded');
    let server = await start(['--jobs-dir', directory]);
    const id = await makeJob(server);
    for (let kills = 0; kills < KILLS; kills++) {
      const before = ended(await until(server, id, () => true));
      await until(server, id, (job) => ended(job) > before || job.status === 'completed');
      await sleep(random.below(200));
      await kill(server);
      server = await start(['--jobs-dir', directory]);
    }
    expect(await makeJob(server)).toBe(id); // asked for again, it is the same
    await check(server, id);
  });

  const why = noPostgres();
  it.skipIf(why !== undefined)(
    why === undefined
      ? 'of three servers on one PostgreSQL outlives that one is killed, one is stopped, and the database ends'
      : `of three servers on one PostgreSQL (skipped: ${why})`,
    async () => {
      postgres = await startPostgres();
      const args = ['--database', postgres.url];
      const [first, second, third] = await Promise.all([start(args), start(args), start(args)]);
      const id = await makeJob(first);
      await until(first, id, (job) => ended(job) >= 2);
      await kill(first);
      second.kill('SIGSTOP');
      await until(third, id, (job) => ended(job) >= 5 || job.status === 'completed');
      await postgres.crash();
      await until(third, id, (job) => ended(job) >= 8 || job.status === 'completed');
      second.kill('SIGCONT'); // what it still commits of before is refused
      await check(third, id);
      await check(second, id);
    },
  );
});
