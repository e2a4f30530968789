// Three servers behind nginx, restarted one after the other under load, with jobs on a PostgreSQL beside it: no request
// fails, each has one ending, and so has each item of a job.
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { clipSender } from '../../src/lab/loadtest/caption-client.ts';
import { runLevel, type RequestResult } from '../../src/lab/loadtest/load-test.ts';
import { readExampleClips } from '../bench/served.ts';
import { examplePath } from '../fixtures/examples.ts';
import { noPostgres, startPostgres, type TestPostgres } from '../fixtures/postgres.ts';
import { NGINX, startReplicas, type Replicas } from '../fixtures/replicas.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { isLongStress } from '../fixtures/stress-size.ts';

const ROUNDS = Number(process.env['AVOCADO_RESTART_ROUNDS'] ?? 20);
const CLIENTS = 6;
const ITEMS_A_JOB = 12;
const scratch = scratchDirectory();

const reason = isLongStress ? 'nginx is not installed: apt-get install nginx' : 'AVOCADO_STRESS=long runs it';

const CAN_RUN = isLongStress && NGINX !== undefined;

interface JobLine {
  readonly index: number;
  readonly status: string;
}

interface JobsDone {
  readonly jobs: number;
  readonly items: number;
}

/** Makes one job after the other through the proxy, and reads its results. */
async function runJobs(url: string, done: AbortSignal): Promise<JobsDone> {
  let jobs = 0;
  while (!done.aborted) {
    // No two are the same work.
    const items = Array.from({ length: ITEMS_A_JOB }, (_, n) => ({
      ...{ media: 'media://m/a.mp4', max_tokens: 8, prompt: `Describe it, job ${jobs}, item ${n}.` },
    }));
    const made = await fetch(`${url}/v1/jobs`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': `job ${jobs}` },
      body: JSON.stringify({ items }),
    });
    const { id } = (await made.json()) as { readonly id: string };
    expect(made.status).toBe(201);
    for (let status = ''; status !== 'completed';) {
      await sleep(200);
      const asked = await fetch(`${url}/v1/jobs/${id}`);
      expect(asked.status).toBe(200);
      status = ((await asked.json()) as { readonly status: string }).status;
    }
    const text = await (await fetch(`${url}/v1/jobs/${id}/results`)).text();
    const lines = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as JobLine);
    expect(lines.map(({ index, status }) => [index, status])).toEqual(items.map((_, n) => [n, 'completed']));
    jobs += 1;
  }
  return { jobs, items: jobs * ITEMS_A_JOB };
}

describe.skipIf(!CAN_RUN)(CAN_RUN ? 'a rolling restart' : `a rolling restart (skipped: ${reason})`, () => {
  let replicas: Replicas | undefined;
  let postgres: TestPostgres | undefined;
  afterAll(async () => {
    await replicas?.close();
    await postgres?.stop();
  });

  it('fails no request and no item of a job', { timeout: 3_600_000 }, async () => {
    const why = noPostgres();
    if (why === undefined) postgres = await startPostgres();
    else console.warn(`Without jobs: ${why}`);
    mkdirSync(scratch('media'));
    copyFileSync(examplePath('square-4s.mp4'), join(scratch('media'), 'a.mp4'));
    const args = ['--slots', '2', '--max-requests', '64', '--media-root', `m=${scratch('media')}`];
    const withJobs = postgres === undefined ? [] : ['--database', postgres.url];
    replicas = await startReplicas(scratch('replicas'), 3, [...args, ...withJobs]);
    const { url } = replicas;
    const clips = await readExampleClips();
    const send = clipSender({ url, apiKey: undefined, fields: { max_tokens: '24' } });
    const done = new AbortController();
    const results: RequestResult[] = [];
    const load = (async () => {
      for (let seed = 1; !done.signal.aborted; seed += 1) {
        const options = { concurrency: CLIENTS, requests: 2 * CLIENTS, leaving: 0, seed };
        results.push(...(await runLevel(clips, send, options, new AbortController().signal)).results);
      }
    })();
    const jobs = postgres === undefined ? undefined : runJobs(url, done.signal);
    jobs?.catch(() => undefined); // it is awaited below
    for (let round = 0; round < ROUNDS; round += 1) {
      for (let index = 0; index < replicas.servers.length; index += 1) {
        const before = results.length;
        await replicas.restart(index);
        // Each server comes back and serves before the next one goes, as a Deployment does it.
        await expect.poll(() => results.length).toBeGreaterThan(before);
      }
    }
    done.abort();
    await load;
    const finished = await jobs;
    const counts: Record<string, number> = {};
    for (const result of results) {
      const kind = result.kind === 'failed' ? result.code : result.kind;
      counts[kind] = (counts[kind] ?? 0) + 1;
    }
    console.warn(`${ROUNDS} rolling restarts of 3 servers: ${JSON.stringify({ ...counts, ...finished })}`);
    expect(Object.keys(counts)).toEqual(['caption']);
  });

  it('sends a file again to the server that has had it', async () => {
    const { url, servers } = replicas ?? { url: '', servers: [] };
    const [clip] = await readExampleClips();
    const sendClip = async (headers: Record<string, string>): Promise<Response> => {
      const body = new FormData();
      body.append('max_tokens', '4');
      body.append('file', new Blob([clip?.bytes ?? new Uint8Array()]), 'clip.mp4');
      const answer = await fetch(`${url}/v1/captions`, { method: 'POST', body, headers });
      await answer.text();
      return answer;
    };
    const hash = (await sendClip({})).headers.get('x-avocado-media-hash') ?? '';
    const counts = (): Promise<number[]> => Promise.all(servers.map(captions));
    const before = await counts();
    for (let times = 0; times < 4; times += 1)
      expect((await sendClip({ 'x-avocado-media-hash': hash })).status).toBe(200);
    const grown = (await counts()).map((count, index) => count - (before[index] ?? 0));
    expect(grown.sort()).toEqual([0, 0, 4]);
  });
});

async function captions({ url }: { readonly url: string }): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const found = [...text.matchAll(/^avocado_requests_total\{outcome="ok".*\} (\d+)$/gm)];
  return found.reduce((sum, [, count]) => sum + Number(count), 0);
}
