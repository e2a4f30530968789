// The first token of a client on an idle server, and beside a job that fills it. Usage:
// npx tsx test/bench/beside-job.ts [--rounds N] [--captions N] [--max-tokens N] [--slots N]
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { clipSender } from '../../src/lab/loadtest/caption-client.ts';
import { variantOf } from '../fixtures/clip-library.ts';
import { median } from './median.ts';
import { readExampleClips, startServer, type BenchServer } from './served.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '4' },
    captions: { type: 'string', default: '12' },
    'max-tokens': { type: 'string', default: '48' },
    slots: { type: 'string', default: '4' },
  },
});
/** Between two captions of the client. */
const PAUSE_MS = 300;
const WARM_UP_MS = 3000;
const clips = await readExampleClips();
const directory = await mkdtemp(join(tmpdir(), 'avocado-beside-'));
const fields = { max_tokens: values['max-tokens'] };
let serial = 0;

interface JobFacts {
  readonly id: string;
  readonly request_counts: { readonly completed: number };
}

async function call(server: BenchServer, path: string, body?: object): Promise<JobFacts> {
  const response = await fetch(`${server.url}${path}`, {
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
    headers: { 'content-type': 'application/json' },
  });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as JobFacts;
}

/** Seconds to the first token of each caption, of clips that were never sent before. */
async function ask(server: BenchServer): Promise<number[]> {
  const send = clipSender({ url: server.url, apiKey: undefined, fields });
  const seconds: number[] = [];
  for (let n = 0; n < Number(values.captions); n++) {
    const clip = clips[n % clips.length];
    if (clip === undefined) throw new Error('There are no clips.');
    const bytes = Uint8Array.from(variantOf(Buffer.from(clip.bytes), `${process.pid}-${serial++}`));
    const result = await send({ name: clip.name, bytes }, undefined, AbortSignal.timeout(120_000));
    if (result.kind !== 'caption') throw new Error(`A caption ended as ${JSON.stringify(result)}.`);
    seconds.push(result.firstTokenSeconds);
    await sleep(PAUSE_MS);
  }
  return seconds;
}

for (const { name } of clips)
  await cp(new URL(`../../models/avocado-nano/examples/${name}`, import.meta.url), join(directory, 'media', name));
const server = await startServer([
  ...['--jobs-dir', join(directory, 'jobs'), '--media-root', `m=${join(directory, 'media')}`],
  ...['--slots', values.slots, '--media-cache-bytes', '0', '--prefix-slots', '0'],
]);
try {
  const items = Array.from({ length: 1000 }, (_, n) => ({
    media: `media://m/${clips[n % clips.length]?.name ?? ''}`,
    max_tokens: Number(values['max-tokens']),
    seed: n, // else they would be the same work, which is done once
  }));
  const { id } = await call(server, '/v1/jobs', { items });
  await sleep(WARM_UP_MS);
  const ratios: number[] = [];
  const all: { idle: number[]; beside: number[] } = { idle: [], beside: [] };
  for (let round = 0; round <= Number(values.rounds); round++) {
    await call(server, `/v1/jobs/${id}/pause`, {});
    await sleep(WARM_UP_MS);
    const idle = await ask(server);
    const before = await call(server, `/v1/jobs/${id}`);
    await call(server, `/v1/jobs/${id}/resume`, {});
    await sleep(WARM_UP_MS);
    const startedMs = performance.now();
    const beside = await ask(server);
    const after = await call(server, `/v1/jobs/${id}`);
    if (round === 0) continue; // it warms both up
    const items = after.request_counts.completed - before.request_counts.completed;
    ratios.push(median(beside) / median(idle));
    all.idle.push(...idle);
    all.beside.push(...beside);
    const itemsPerSecond = items / ((performance.now() - startedMs + WARM_UP_MS) / 1000);
    console.log(JSON.stringify({ idle: median(idle), beside: median(beside), items_per_second: itemsPerSecond }));
  }
  const slowest = { idle: Math.max(...all.idle), beside: Math.max(...all.beside) };
  console.log(JSON.stringify({ first_token_beside_over_idle: median(ratios), ratios, slowest }));
} finally {
  await server.close();
  await rm(directory, { recursive: true, force: true });
}
