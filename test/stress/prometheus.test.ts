// The dashboards and alerts of the chart against a real Prometheus that scrapes a real server under load. The windows
// of the rules are shrunk: a minute becomes two seconds. Real faults make alerts fire.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { clipSender } from '../../src/lab/loadtest/caption-client.ts';
import { runLevel } from '../../src/lab/loadtest/load-test.ts';
import { readExampleClips } from '../bench/served.ts';
import { nodeChildren } from '../fixtures/child-processes.ts';
import { HELM, helm, onPath } from '../fixtures/helm.ts';
import { freePort } from '../fixtures/replicas.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { form } from '../fixtures/served-app.ts';
import { spawnServer, type SpawnedServer } from '../fixtures/spawned-server.ts';
import { isLongStress } from '../fixtures/stress-size.ts';

const CHART = fileURLToPath(new URL('../../helm/avocado', import.meta.url));
const PROMETHEUS = onPath('prometheus');
const CAN_RUN = isLongStress && PROMETHEUS !== undefined && HELM !== undefined;
const reason = isLongStress ? 'prometheus is not installed: apt-get install prometheus' : 'AVOCADO_STRESS=long runs it';
const SECONDS_A_MINUTE = 2;
const scratch = scratchDirectory();

interface Rule {
  readonly alert?: string;
  readonly expr: string;
}

/** Expressions that have no data without a GPU, or while nothing is wrong. */
const EMPTY_WHEN_WELL = [/^avocado_gpu_/, /avocado_requests_total\{[^}]*outcome="error"[^}]*\}.* > 0$/];

let server: SpawnedServer;
let prometheus: ChildProcess | undefined;
let prometheusUrl: string;
let rules: readonly Rule[];

/** `5m` → `10s`, `6h` → `720s` */
function shrunk(text: string): string {
  return text.replace(/(?<=\[|for: )(\d+)([mh])\b/g, (_, count: string, unit: string) => {
    return `${Number(count) * SECONDS_A_MINUTE * (unit === 'h' ? 60 : 1)}s`;
  });
}

async function api(path: string): Promise<{ readonly status: string; readonly data: never; readonly error?: string }> {
  return (await (await fetch(`${prometheusUrl}/api/v1/${path}`)).json()) as never;
}

async function query(expression: string): Promise<readonly unknown[]> {
  const answer = await api(`query?query=${encodeURIComponent(expression)}`);
  expect(answer.error, expression).toBeUndefined();
  return (answer.data as { readonly result: readonly unknown[] }).result;
}

async function firing(): Promise<string[]> {
  const { alerts } = (await api('alerts')).data as {
    readonly alerts: readonly { readonly state: string; readonly labels: { readonly alertname: string } }[];
  };
  return alerts.filter(({ state }) => state === 'firing').map(({ labels }) => labels.alertname);
}

async function load(requests: number): Promise<void> {
  const send = clipSender({ url: server.url, apiKey: undefined, fields: { max_tokens: '16' } });
  const options = { concurrency: 3, requests, leaving: 0, seed: requests };
  await runLevel(await readExampleClips(), send, options, new AbortController().signal);
}

/** A caption whose first word has come. @returns reads the rest of the stream */
async function beginStream(): Promise<() => Promise<string>> {
  const [clip] = await readExampleClips();
  const fields = { stream: 'true', ignore_eos: 'true', max_tokens: '5000' };
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

function engine(): number {
  const [pid] = nodeChildren(server.child.pid ?? 0);
  if (pid === undefined) throw new Error('The server has no engine process.');
  return pid;
}

async function startPrometheus(groups: string): Promise<void> {
  const port = await freePort();
  prometheusUrl = `http://127.0.0.1:${port}`;
  writeFileSync(scratch('rules.yaml'), groups);
  writeFileSync(
    scratch('prometheus.yaml'),
    JSON.stringify({
      global: { scrape_interval: '1s', evaluation_interval: '1s' },
      rule_files: [scratch('rules.yaml')],
      scrape_configs: [
        {
          job_name: 'r-avocado',
          static_configs: [{ targets: [new URL(server.url).host], labels: { namespace: 'here', pod: 'r-avocado-0' } }],
        },
      ],
    }),
  );
  const flags = [`--config.file=${scratch('prometheus.yaml')}`, `--storage.tsdb.path=${scratch('tsdb')}`];
  const child = spawn(PROMETHEUS ?? '', [...flags, `--web.listen-address=127.0.0.1:${port}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  prometheus = child;
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  await vi.waitFor(async () => {
    const answer = await fetch(`${prometheusUrl}/-/ready`).catch(() => undefined);
    if (answer?.ok !== true) throw new Error(`Prometheus is not ready (exit code ${child.exitCode}): ${said}`);
  });
}

describe.skipIf(!CAN_RUN)(CAN_RUN ? 'Prometheus' : `Prometheus (skipped: ${reason})`, () => {
  beforeAll(async () => {
    // A number with --set would be a text.
    const values = 'metrics.prometheusRule={"enabled":true,"firstTokenSeconds":0.5,"queueSeconds":1}';
    const template = await helm(
      ...['template', 'r', CHART, '--namespace', 'here', '--show-only', 'templates/prometheusrule.yaml'],
      ...['--set-json', values],
    );
    expect(template.stderr).toBe('');
    const { spec } = parse(template.stdout) as { spec: { groups: { rules: Rule[] }[] } };
    rules = spec.groups.flatMap((group) => group.rules);
    const text = template.stdout.slice(template.stdout.indexOf('groups:'));
    // The server gives up on a stopped engine late enough for the alerts before that.
    const args = ['--slots', '2', '--max-requests', '8', '--stall-seconds', '600', '--drain-seconds', '0'];
    server = await spawnServer(args, scratch('server'));
    await startPrometheus(shrunk(text.replace(/^ {2}/gm, '')));
    // A rate needs two scrapes, one of them after the load.
    await vi.waitFor(async () => {
      expect(await query('avocado_requests_total')).not.toEqual([]);
    });
    await load(6);
    await vi.waitFor(async () => {
      expect(await query('rate(avocado_time_to_first_token_seconds_count[60s]) > 0')).not.toEqual([]);
    });
  });

  afterAll(async () => {
    server.kill('SIGKILL');
    await server.ended;
    const ended = prometheus === undefined ? undefined : once(prometheus, 'exit');
    prometheus?.kill('SIGTERM');
    await ended;
  });

  it('has data for every expression of the dashboards', async () => {
    const expressions = readdirSync(join(CHART, 'dashboards')).flatMap((file) => {
      const { panels } = JSON.parse(readFileSync(join(CHART, 'dashboards', file), 'utf8')) as {
        panels: { targets: { expr: string }[] }[];
      };
      return panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
    });
    const empty: string[] = [];
    for (const expression of expressions) {
      const filled = expression.replaceAll(/\$(?:namespace|job|pod)/g, '.*').replaceAll('$__rate_interval', '60s');
      if ((await query(filled)).length === 0) empty.push(expression);
    }
    console.warn(`${expressions.length} expressions of dashboards, ${empty.length} without data: ${empty.join(' ; ')}`);
    expect(expressions.length).toBeGreaterThan(40);
    expect(empty.filter((expression) => !EMPTY_WHEN_WELL.some((pattern) => pattern.test(expression)))).toEqual([]);
  });

  it('takes every rule, and none fires while nothing is wrong', async () => {
    for (const { expr } of rules) await query(shrunk(expr));
    const { groups } = (await api('rules')).data as { groups: { rules: { health: string; lastError?: string }[] }[] };
    expect(groups.flatMap((group) => group.rules).filter(({ health }) => health === 'err')).toEqual([]);
    // A busy machine may be slower than half a second to a first token, which this test asks for.
    expect((await firing()).filter((name) => !name.startsWith('AvocadoFirstToken'))).toEqual([]);
  });

  it('fires on an engine that is killed, one that is stopped, bad files, a full queue and a server that is gone', async () => {
    const seen = new Set<string>();
    const watch = setInterval(() => {
      void firing().then(
        (names) => {
          for (const name of names) seen.add(name);
        },
        () => undefined,
      );
    }, 500);
    const until = async (...names: readonly string[]): Promise<void> => {
      await expect.poll(() => names.filter((name) => !seen.has(name)), { timeout: 240_000, interval: 500 }).toEqual([]);
    };
    const post = (body: FormData): Promise<unknown> =>
      fetch(`${server.url}/v1/captions`, { method: 'POST', body }).then(
        (answer) => answer.text(),
        () => undefined,
      );
    try {
      // First, while few other requests dilute the errors.
      for (let times = 0; times < 2; times += 1) {
        const before = engine();
        const broken = await Promise.all([beginStream(), beginStream()]);
        process.kill(before, 'SIGKILL');
        for (const rest of broken) expect(await rest()).toContain('engine_unavailable');
        await expect.poll(() => nodeChildren(server.child.pid ?? 0)[0] ?? before, { timeout: 60_000 }).not.toBe(before);
      }
      await until('AvocadoEngineRestarting', 'AvocadoErrorsFast');

      for (let file = 0; file < 200 && !seen.has('AvocadoMediaErrors'); file += 1) {
        await post(form('no video'));
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
      await until('AvocadoMediaErrors');

      await load(3);
      const stopped = engine();
      const clips = await readExampleClips();
      const waiting: Promise<unknown>[] = [];
      process.kill(stopped, 'SIGSTOP');
      const flood = setInterval(() => {
        const [clip] = clips;
        if (clip !== undefined && waiting.length < 400) waiting.push(post(form(clip.bytes)));
      }, 250);
      await until('AvocadoRefusals');
      clearInterval(flood);
      process.kill(stopped, 'SIGKILL');
      await Promise.all(waiting);

      server.child.kill('SIGSTOP');
      await new Promise((resolve) => setTimeout(resolve, 3000));
      server.child.kill('SIGCONT');
      server.kill('SIGKILL');
      await until('AvocadoDown');
    } finally {
      clearInterval(watch);
      console.warn(`Fired: ${[...seen].sort().join(', ')}`);
    }
  });
});
