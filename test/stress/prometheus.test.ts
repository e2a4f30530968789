// The dashboards and alerts of the chart against a real Prometheus that scrapes a real server under load. The windows
// of the rules are shrunk: a minute becomes two seconds. Real faults make alerts fire.
import { readdirSync, readFileSync, rmSync, symlinkSync, mkdirSync, copyFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { clipSender } from '../../src/lab/loadtest/caption-client.ts';
import { runLevel } from '../../src/lab/loadtest/load-test.ts';
import { readExampleClips } from '../bench/served.ts';
import { nodeChildren } from '../fixtures/child-processes.ts';
import { examplePath } from '../fixtures/examples.ts';
import { HELM } from '../fixtures/helm.ts';
import {
  chartRules,
  PROMETHEUS,
  shrunk,
  startPrometheus,
  type Rule,
  type TestPrometheus,
} from '../fixtures/prometheus.ts';
import { NANO } from '../fixtures/nano.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { form } from '../fixtures/served-app.ts';
import { spawnServer, type SpawnedServer } from '../fixtures/spawned-server.ts';
import { isLongStress } from '../fixtures/stress-size.ts';

const DASHBOARDS = fileURLToPath(new URL('../../helm/avocado/dashboards', import.meta.url));
const CAN_RUN = isLongStress && PROMETHEUS !== undefined && HELM !== undefined;
const reason = isLongStress ? 'prometheus is not installed: apt-get install prometheus' : 'AVOCADO_STRESS=long runs it';
const SECONDS_A_MINUTE = 2;
const PATIENCE = { timeout: 240_000, interval: 500 };
const DISK_BYTES = 1_000_000;
/** What no fault on this machine can cause: it needs a GPU (its alert is in chart-alerts.test.ts). */
const NEEDS_A_GPU = ['AvocadoStepsNotRecorded'];
const scratch = scratchDirectory();

/** Expressions that have no data without a GPU, or while nothing is wrong. */
const EMPTY_WHEN_WELL = [
  /^avocado_gpu_/,
  /^avocado_engine_step_recorded/,
  /avocado_requests_total\{[^}]*outcome="error"[^}]*\}.* > 0$/,
];

let server: SpawnedServer;
let prometheus: TestPrometheus;
let rules: readonly Rule[];

async function load(requests: number): Promise<void> {
  const send = clipSender({ url: server.url, apiKey: undefined, fields: { max_tokens: '16' } });
  const options = { concurrency: 3, requests, leaving: 0, seed: requests };
  await runLevel(await readExampleClips(), send, options, new AbortController().signal);
}

async function makeJob(items: readonly object[]): Promise<void> {
  const response = await fetch(`${server.url}/v1/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ items }),
  });
  expect(response.status, await response.text()).toBe(201);
}

/** A caption that nearly fills the context, and whose first word has come. @returns reads the rest of the stream */
async function beginStream(): Promise<() => Promise<string>> {
  const [clip] = await readExampleClips();
  const fields = { stream: 'true', ignore_eos: 'true', max_tokens: '7700' };
  const response = await fetch(`${server.url}/v1/captions`, { method: 'POST', body: form(clip?.bytes ?? '', fields) });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    text += part.value;
    if (text.includes('text-delta')) break;
  }
  return async () => {
    for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value;
    return text;
  };
}

/** A request whose answer does not matter. */
async function post(body: FormData): Promise<void> {
  const answer = await fetch(`${server.url}/v1/captions`, { method: 'POST', body }).catch(() => undefined);
  await answer?.text().catch(() => undefined);
}

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
}

function engine(): number {
  const [pid] = nodeChildren(server.child.pid ?? 0);
  if (pid === undefined) throw new Error('The server has no engine process.');
  return pid;
}

async function killEngine(): Promise<void> {
  const before = engine();
  process.kill(before, 'SIGKILL');
  await expect.poll(() => nodeChildren(server.child.pid ?? 0)[0] ?? before, PATIENCE).not.toBe(before);
}

async function engineIsReady(): Promise<void> {
  await expect.poll(() => metric('avocado_engine_up'), PATIENCE).toBe(1);
}

describe.skipIf(!CAN_RUN)(CAN_RUN ? 'Prometheus' : `Prometheus (skipped: ${reason})`, () => {
  const seen = new Set<string>();
  let watch: NodeJS.Timeout | undefined;
  const unseen = (names: readonly string[]): string[] => names.filter((name) => !seen.has(name));
  const until = async (...names: readonly string[]): Promise<void> => {
    await expect.poll(() => unseen(names), PATIENCE).toEqual([]);
  };

  beforeAll(async () => {
    const groups = await chartRules({ firstTokenSeconds: 0.5, queueSeconds: 1 });
    rules = groups.flatMap((group) => group.rules);
    const small = (text: string): string => shrunk(text, SECONDS_A_MINUTE).replace('> 1800', '> 60');
    const smallGroups = groups.map((group) => ({
      ...group,
      rules: group.rules.map((rule) => ({
        ...rule,
        expr: small(rule.expr),
        ...(rule.for === undefined ? {} : { for: small(rule.for) }),
      })),
    }));
    mkdirSync(scratch('media'));
    copyFileSync(examplePath('square-4s.mp4'), join(scratch('media'), 'a.mp4'));
    // A model that can be taken away.
    symlinkSync(NANO, scratch('model'));
    server = await spawnServer(
      [
        ...['--model', scratch('model'), '--slots', '2', '--max-requests', '8', '--max-temp-bytes', String(DISK_BYTES)],
        ...['--jobs-dir', scratch('jobs'), '--media-root', `m=${scratch('media')}`, '--drain-seconds', '0'],
        // The server gives up on a stopped engine late enough for the alerts before that.
        ...['--stall-seconds', '600', '--context', '8192'],
      ],
      scratch('server'),
    );
    prometheus = await startPrometheus(scratch('prometheus'), [server.url], smallGroups, '2s');
    await makeJob([{ media: 'media://m/a.mp4', max_tokens: 8 }, { media: 'media://m/none.mp4' }]);
    // A rate needs two scrapes, one of them after the load.
    await vi.waitFor(async () => {
      expect(await prometheus.query('avocado_requests_total')).not.toEqual([]);
      expect(await prometheus.query('avocado_job_items_committed_total{state="failed"}')).not.toEqual([]);
    });
    await makeJob([{ media: 'media://m/a.mp4', max_tokens: 9 }, { media: 'media://m/none-either.mp4' }]);
    await load(6);
    await vi.waitFor(async () => {
      expect(await prometheus.query('rate(avocado_time_to_first_token_seconds_count[60s]) > 0')).not.toEqual([]);
      expect(await prometheus.query('rate(avocado_job_items_committed_total{state="failed"}[60s]) > 0')).not.toEqual(
        [],
      );
      expect(await prometheus.query('avocado_jobs')).not.toEqual([]);
      expect(await prometheus.query('avocado_job_items{state="ready"}')).not.toEqual([]);
    });
  });

  afterAll(async () => {
    clearInterval(watch);
    server.kill('SIGKILL');
    await server.ended;
    await prometheus.stop();
  });

  it('has data for every expression of the dashboards', async () => {
    const expressions = readdirSync(DASHBOARDS).flatMap((file) => {
      const { panels } = JSON.parse(readFileSync(join(DASHBOARDS, file), 'utf8')) as {
        panels: { targets: { expr: string }[] }[];
      };
      return panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
    });
    const empty: string[] = [];
    for (const expression of expressions) {
      const filled = expression.replaceAll(/\$(?:namespace|job|pod)/g, '.*').replaceAll('$__rate_interval', '60s');
      if ((await prometheus.query(filled)).length === 0) empty.push(expression);
    }
    console.warn(`${expressions.length} expressions of dashboards, ${empty.length} without data: ${empty.join(' ; ')}`);
    expect(expressions.length).toBeGreaterThan(40);
    expect(empty.filter((expression) => !EMPTY_WHEN_WELL.some((pattern) => pattern.test(expression)))).toEqual([]);
  });

  it('takes every rule, and none fires while nothing is wrong', async () => {
    for (const { expr } of rules) await prometheus.query(shrunk(expr, SECONDS_A_MINUTE));
    const { groups } = await prometheus.api<{ groups: { rules: { health: string }[] }[] }>('rules');
    expect(groups.flatMap((group) => group.rules).filter(({ health }) => health === 'err')).toEqual([]);
    // A busy machine may be slower than half a second to a first token, which this test asks for.
    expect((await prometheus.firing()).filter((name) => !name.startsWith('AvocadoFirstToken'))).toEqual([]);
    watch = setInterval(() => {
      void prometheus.firing().then(
        (names) => {
          for (const name of names.filter((other) => !seen.has(other))) {
            console.warn(`${name} fires`);
            seen.add(name);
          }
        },
        () => undefined,
      );
    }, 500);
  });

  it('fires on an engine that is killed again and again', async () => {
    const wanted = ['AvocadoEngineRestarting', 'AvocadoErrorsFast', 'AvocadoErrorsSlow'];
    for (let times = 0; times < 2 || unseen(wanted).length > 0; times += 1) {
      expect(times).toBeLessThan(60);
      const broken = await Promise.all([beginStream(), beginStream()]);
      await killEngine();
      for (const rest of broken) expect(await rest()).toContain('engine_unavailable');
      await engineIsReady();
    }
  });

  it('fires on files that are no videos', async () => {
    for (let file = 0; file < 400 && !seen.has('AvocadoMediaErrors'); file += 1) {
      await post(form('no video'));
      await sleep(500);
    }
    await until('AvocadoMediaErrors');
  });

  it('fires on a slow engine', async () => {
    const [clip] = await readExampleClips();
    const wanted = ['AvocadoFirstTokenFast', 'AvocadoFirstTokenSlow'];
    for (let request = 0; request < 400 && unseen(wanted).length > 0; request += 1) {
      const slow = engine();
      process.kill(slow, 'SIGSTOP');
      const answered = post(form(clip?.bytes ?? '', { max_tokens: '2' }));
      await sleep(700);
      process.kill(slow, 'SIGCONT');
      await answered;
    }
    await until(...wanted);
  });

  it('fires on an engine that stops in the middle of its work while requests come', async () => {
    const [clip] = await readExampleClips();
    const streams = [await beginStream(), await beginStream()];
    const stopped = engine();
    process.kill(stopped, 'SIGSTOP');
    const waiting: Promise<unknown>[] = [];
    const flood = setInterval(() => {
      // Long captions are much estimated work.
      if (waiting.length < 800) waiting.push(post(form(clip?.bytes ?? '', { ignore_eos: 'true', max_tokens: '1500' })));
    }, 250);
    try {
      await until('AvocadoRefusals', 'AvocadoNoProgress', 'AvocadoQueueGrowing');
    } finally {
      clearInterval(flood);
      process.kill(stopped, 'SIGKILL');
    }
    await Promise.all([...waiting, ...streams.map((rest) => rest())]);
    await engineIsReady();
  });

  it('fires on a disk that is nearly full', async () => {
    const stopped = engine();
    process.kill(stopped, 'SIGSTOP');
    const held = post(form(new Uint8Array(0.9 * DISK_BYTES)));
    try {
      await until('AvocadoTemporarySpace');
    } finally {
      process.kill(stopped, 'SIGKILL');
    }
    await held;
    await engineIsReady();
  });

  it('fires on a full KV cache', async () => {
    // At once, so that both slots are nearly full at the same time, for the last few hundred tokens of a long context:
    // the server learns of it four times a second.
    const streams = await Promise.all([beginStream(), beginStream()]);
    await expect
      .poll(() => metric('avocado_kv_cache_usage_ratio'), { timeout: PATIENCE.timeout, interval: 20 })
      .toBeGreaterThan(0.951);
    const full = engine();
    process.kill(full, 'SIGSTOP');
    // It stays so, but for a sign of life now and then: a silent engine is killed after 30 seconds.
    const alive = setInterval(() => {
      process.kill(full, 'SIGCONT');
      setTimeout(() => process.kill(full, 'SIGSTOP'), 10);
    }, 1000);
    try {
      await until('AvocadoKvCacheFull');
    } finally {
      clearInterval(alive);
      await sleep(20);
      process.kill(full, 'SIGKILL');
    }
    for (const rest of streams) await rest();
    await engineIsReady();
  });

  it('fires on a model that is gone, and on the jobs that wait for it', async () => {
    rmSync(scratch('model'));
    await killEngineForGood();
    await makeJob([{ media: 'media://m/a.mp4', max_tokens: 8 }]);
    await until('AvocadoEngineDown', 'AvocadoJobsStalled');
    symlinkSync(NANO, scratch('model'));
    await engineIsReady();
  });

  it('fires on a server that hangs, and on one that is gone', async () => {
    for (let times = 0; times < 200 && !seen.has('AvocadoEventLoopBlocked'); times += 1) {
      server.child.kill('SIGSTOP');
      await sleep(1300);
      server.child.kill('SIGCONT');
      await sleep(600);
    }
    await until('AvocadoEventLoopBlocked');
    server.kill('SIGKILL');
    await until('AvocadoDown');
  });

  it('has then fired every alert that needs no GPU', () => {
    const names = rules.flatMap(({ alert }) => alert ?? []);
    console.warn(`Fired: ${[...seen].sort().join(', ')}`);
    expect(names.filter((name) => !seen.has(name))).toEqual(NEEDS_A_GPU);
  });
});

/** Nothing replaces it while its model is away. */
async function killEngineForGood(): Promise<void> {
  process.kill(engine(), 'SIGKILL');
  await expect.poll(() => metric('avocado_engine_up'), PATIENCE).toBe(0);
}
