// The dashboards and alerts of the chart against a real Prometheus that scrapes a real server under load. The windows
// of the rules are shrunk: a minute becomes two seconds. Real faults make alerts fire.
import { spawn, type ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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
let prometheus: ChildProcess;
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
  prometheus = spawn(PROMETHEUS ?? '', [...flags, `--web.listen-address=127.0.0.1:${port}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  prometheus.stderr?.setEncoding('utf8').on('data', (text: string) => (said += text));
  await expect
    .poll(
      async () => {
        if (prometheus.exitCode !== null) throw new Error(`Prometheus ended with ${prometheus.exitCode}: ${said}`);
        return (await fetch(`${prometheusUrl}/-/ready`).catch(() => undefined))?.ok;
      },
      { timeout: 60_000 },
    )
    .toBe(true);
}

describe.skipIf(!CAN_RUN)(`Prometheus (skipped: ${reason})`, () => {
  beforeAll(async () => {
    const flags = ['--set', 'metrics.prometheusRule.enabled=true,metrics.prometheusRule.firstTokenSeconds=0.5'];
    const template = await helm(
      ...['template', 'r', CHART, '--namespace', 'here', '--show-only', 'templates/prometheusrule.yaml', ...flags],
      ...['--set', 'metrics.prometheusRule.queueSeconds=1'],
    );
    expect(template.stderr).toBe('');
    const { spec } = parse(template.stdout) as { spec: { groups: { rules: Rule[] }[] } };
    rules = spec.groups.flatMap((group) => group.rules);
    const text = template.stdout.slice(template.stdout.indexOf('groups:'));
    // The server gives up on a stopped engine late enough for the alerts before that.
    const args = ['--slots', '2', '--max-requests', '8', '--stall-seconds', '600', '--drain-seconds', '0'];
    server = await spawnServer(args, scratch('server'));
    await startPrometheus(shrunk(text.replace(/^ {2}/gm, '')));
    await load(6);
  });

  afterAll(async () => {
    prometheus.kill('SIGTERM');
    server.kill('SIGKILL');
    await Promise.all([server.ended, new Promise((resolve) => prometheus.once('exit', resolve))]);
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
      for (let file = 0; file < 200 && !seen.has('AvocadoMediaErrors'); file += 1) {
        await post(form('no video'));
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
      await until('AvocadoMediaErrors');

      for (let times = 0; times < 2; times += 1) {
        const before = engine();
        const running = load(3);
        process.kill(before, 'SIGKILL');
        await running;
        await expect.poll(() => nodeChildren(server.child.pid ?? 0)[0] ?? before, { timeout: 60_000 }).not.toBe(before);
      }
      await until('AvocadoEngineRestarting', 'AvocadoErrorsFast');

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
