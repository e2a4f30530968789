// The whole deployment for a long time: nginx, three servers with avocado-nano, a PostgreSQL with jobs, a Prometheus
// with the chart's alerts. Does memory stay flat, does no alert fire, and do the counts of servers and clients agree?
// npx tsx test/bench/soak-fleet.ts [minutes]      needs nginx, postgresql, prometheus (Debian's packages) and helm
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { clipSender } from '../../src/lab/loadtest/caption-client.ts';
import { runLevel, type RequestResult } from '../../src/lab/loadtest/load-test.ts';
import buildProgram from '../fixtures/built-cli.ts';
import { nodeChildren } from '../fixtures/child-processes.ts';
import { examplePath } from '../fixtures/examples.ts';
import { HELM } from '../fixtures/helm.ts';
import { noPostgres, startPostgres } from '../fixtures/postgres.ts';
import { chartRules, PROMETHEUS, startPrometheus } from '../fixtures/prometheus.ts';
import { NGINX, startReplicas } from '../fixtures/replicas.ts';
import type { SpawnedServer } from '../fixtures/spawned-server.ts';
import { readExampleClips, residentMiB, slopeAnHour } from './served.ts';

const CLIENTS = 6;
const ITEMS_A_JOB = 20;
const READ_EVERY_MS = 10_000;
/** Caches fill and arenas grow in the first quarter. */
const WARM_UP_SHARE = 0.25;

const missing = Object.entries({
  nginx: NGINX,
  prometheus: PROMETHEUS,
  helm: HELM,
  PostgreSQL: !noPostgres() || undefined,
});
for (const [name, found] of missing) if (found === undefined) throw new Error(`${name} is missing here.`);

interface Reading {
  readonly minutes: number;
  /** of each server, then of each engine, in MiB */
  readonly mib: readonly number[];
}

async function samples(
  { url }: SpawnedServer,
  name: string,
): Promise<readonly (readonly [labels: string, value: number])[]> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return [...text.matchAll(new RegExp(`^${name}(?:\\{(.*)\\})? (\\S+)$`, 'gm'))].map(
    ([, labels = '', value]) => [labels, Number(value)] as const,
  );
}

/** Sum over servers and labels. */
async function total(servers: readonly SpawnedServer[], name: string, ...wanted: readonly string[]): Promise<number> {
  const found = (await Promise.all(servers.map((server) => samples(server, name)))).flat();
  const isWanted = (labels: string): boolean => wanted.every((label) => labels.includes(label));
  return found.filter(([labels]) => isWanted(labels)).reduce((sum, [, value]) => sum + value, 0);
}

/** @returns items that were captioned */
async function runJobs(url: string, until: () => boolean): Promise<number> {
  let items = 0;
  while (!until()) {
    const made = await fetch(`${url}/v1/jobs`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        // No two are the same work.
        items: Array.from({ length: ITEMS_A_JOB }, (_, n) => ({
          ...{ media: 'media://m/a.mp4', max_tokens: 16, prompt: `Describe it, item ${items + n}.` },
        })),
      }),
    });
    const { id } = (await made.json()) as { readonly id: string };
    for (;;) {
      const job = (await (await fetch(`${url}/v1/jobs/${id}`)).json()) as {
        readonly status: string;
        readonly request_counts: { readonly completed: number };
      };
      if (job.status === 'completed') {
        items += job.request_counts.completed;
        break;
      }
      await sleep(500);
    }
  }
  return items;
}

const minutes = Number(process.argv[2] ?? 60);
const removeBuild = buildProgram();
const folder = mkdtempSync(join(tmpdir(), 'avocado-soak-'));
mkdirSync(join(folder, 'media'));
copyFileSync(examplePath('square-4s.mp4'), join(folder, 'media/a.mp4'));
const postgres = await startPostgres();
const flags = ['--slots', '2', '--max-requests', '64', '--media-root', `m=${join(folder, 'media')}`];
const replicas = await startReplicas(join(folder, 'replicas'), 3, [...flags, '--database', postgres.url]);
const { url, servers } = replicas;
const groups = await chartRules();
const prometheus = await startPrometheus(
  join(folder, 'prometheus'),
  servers.map((server) => server.url),
  groups,
  '15s',
);
const send = clipSender({ url, apiKey: undefined, fields: { max_tokens: '32' } });
const clips = await readExampleClips();
const startedMs = performance.now();
const elapsed = (): number => (performance.now() - startedMs) / 60_000;
const isOver = (): boolean => elapsed() > minutes;
const results: RequestResult[] = [];
const readings: Reading[] = [];
const fired = new Set<string>();

const load = (async (): Promise<void> => {
  for (let seed = 1; !isOver(); seed += 1) {
    const options = { concurrency: CLIENTS, requests: 4 * CLIENTS, leaving: 0, seed };
    results.push(...(await runLevel(clips, send, options, new AbortController().signal)).results);
  }
})();
const jobs = runJobs(url, isOver);
while (!isOver()) {
  await sleep(READ_EVERY_MS);
  for (const name of await prometheus.firing()) fired.add(name);
  const pids = servers.map(({ child }) => child.pid ?? 0);
  const mib = [...pids, ...pids.flatMap((pid) => nodeChildren(pid))].map(residentMiB);
  readings.push({ minutes: elapsed(), mib });
  if (readings.length % 6 === 1)
    console.log(`${elapsed().toFixed(1)} min: ${mib.map((one) => one.toFixed(0)).join(' ')} MiB`);
}
await load;
const items = await jobs;
const count = (kind: RequestResult['kind']): number => results.filter((result) => result.kind === kind).length;
const settled = readings.filter((reading) => reading.minutes > minutes * WARM_UP_SHARE);
const slopes = (settled[0]?.mib ?? []).map((_, at) => slopeAnHour(settled, (reading) => reading.mib[at] ?? 0));
const captions = await total(servers, 'avocado_requests_total', 'outcome="ok"', 'class="interactive"');
const committed = await total(servers, 'avocado_job_items_committed_total', 'state="completed"');
console.log(
  JSON.stringify({
    minutes,
    clients: { captions: count('caption'), refused: count('refused'), failed: count('failed'), items },
    servers: {
      captions,
      errors: await total(servers, 'avocado_requests_total', 'outcome="error"'),
      items: committed,
      superseded: await total(servers, 'avocado_job_items_superseded_total'),
      restarts: await total(servers, 'avocado_engine_restarts_total'),
    },
    prometheus: { scraped: (await prometheus.query('sum(up)'))[0]?.value?.[1], fired: [...fired] },
    mib: { first: settled[0]?.mib.map(Math.round), last: settled.at(-1)?.mib.map(Math.round) },
    mib_per_hour: slopes.map(Math.round),
  }),
);
await prometheus.stop();
const proxyErrors = await replicas.close();
await postgres.stop();
removeBuild();
rmSync(folder, { recursive: true, force: true });
if (proxyErrors !== '') console.log(`nginx said: ${proxyErrors}`);
const agrees = count('failed') === 0 && fired.size === 0 && captions === count('caption') && committed === items;
console.log(agrees ? 'The counts agree, and no alert fired.' : 'FAILED: see the line above.');
process.exitCode = agrees ? 0 : 1;
