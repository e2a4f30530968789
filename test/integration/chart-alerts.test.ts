// Alerts and dashboards of the chart: they name metrics that the server has, each alert has its runbook, and promtool
// makes each fire on the series that it is for, and none on a healthy server's.
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { ERRORS } from '../../src/base/errors.ts';
import { HELM, helm, onPath } from '../fixtures/helm.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const CHART = join(ROOT, 'helm/avocado');
const scratch = scratchDirectory();

const PROMTOOL = onPath('promtool');
if (PROMTOOL === undefined)
  console.warn('Skipped: tests of alerts need promtool on the PATH (Debian and Ubuntu: apt-get install prometheus).');

/** Metrics of metrics.md, which another test compares with the code: labels by name. */
const METRICS = new Map(
  [
    ...readFileSync(join(ROOT, '.github/docs/metrics.md'), 'utf8').matchAll(/^\| `(\w+)` \| (\w+) \|([^|]*)\|/gm),
  ].flatMap(([, name = '', type, labels = '']) => {
    const known = [...labels.matchAll(/`(\w+)`/g)].map(([, label = '']) => label);
    const names = type === 'histogram' ? ['_bucket', '_count', '_sum'].map((end) => `${name}${end}`) : [name];
    return names.map((each) => [each, [...known, 'le']] as const);
  }),
);
/** Labels that Prometheus itself adds. */
const TARGET_LABELS = ['namespace', 'job', 'pod'];

/** @returns what an expression names and the server does not have */
function unknownIn(expression: string): string[] {
  const names = [...expression.matchAll(/\bavocado_\w+/g)].map(([name]) => name);
  const labels = [...expression.matchAll(/\b(avocado_\w+)\{([^}]*)\}/g)].flatMap(([, name = '', selector = '']) =>
    [...selector.matchAll(/(\w+)\s*(?:=~|!=|!~|=)/g)]
      .map(([, label = '']) => label)
      .filter((label) => ![...(METRICS.get(name) ?? []), ...TARGET_LABELS].includes(label))
      .map((label) => `${name}{${label}}`),
  );
  return [...names.filter((name) => !METRICS.has(name)), ...labels];
}

interface Panel {
  readonly title: string;
  readonly targets: readonly { readonly expr: string }[];
}

describe('dashboards', () => {
  it('ask only for metrics and labels that the server has', () => {
    expect(METRICS.size).toBeGreaterThan(40);
    let expressions = 0;
    for (const file of readdirSync(join(CHART, 'dashboards'))) {
      const { panels } = JSON.parse(readFileSync(join(CHART, 'dashboards', file), 'utf8')) as { panels: Panel[] };
      for (const { title, targets } of panels) {
        for (const { expr } of targets) {
          expressions += 1;
          expect(unknownIn(expr), `${file}: ${title}`).toEqual([]);
        }
      }
    }
    expect(expressions).toBeGreaterThan(40);
  });

  it('would be found out if they asked for others', () => {
    expect(unknownIn('rate(avocado_nothing_total[5m])')).toEqual(['avocado_nothing_total']);
    expect(unknownIn('avocado_engine_up{stage="x"}')).toEqual(['avocado_engine_up{stage}']);
  });
});

interface Rule {
  readonly alert?: string;
  readonly expr: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

const TARGET = { namespace: 'here', job: 'r-avocado' };
const POD = { ...TARGET, pod: 'r-avocado-0' };

function series(name: string, values: string, labels: Readonly<Record<string, string>> = {}): object {
  const written = Object.entries({ ...POD, ...labels }).map(([label, value]) => `${label}="${value}"`);
  return { series: `${name}{${written.join(',')}}`, values };
}

function requests(outcome: string, values: string, code = outcome): object {
  return series('avocado_requests_total', values, { outcome, finish_reason: outcome, class: 'interactive', code });
}

function firstTokens(inTime: string, all: string): object[] {
  const name = 'avocado_time_to_first_token_seconds';
  return [series(`${name}_bucket`, inTime, { le: '20' }), series(`${name}_count`, all)];
}

interface Case {
  readonly minutes: number;
  /** what Prometheus would have scraped, one value a minute */
  readonly scraped: readonly object[];
  /** labels of the alert, beside its severity */
  readonly labels: Readonly<Record<string, string>>;
}

const FIRES: Readonly<Record<string, Case>> = {
  AvocadoErrorsFast: {
    minutes: 100,
    scraped: [requests('error', '0+1x120', 'engine_error'), requests('ok', '0+1x120')],
    labels: TARGET,
  },
  AvocadoErrorsSlow: {
    minutes: 450,
    scraped: [requests('error', '0+1x480', 'deadline_exceeded'), requests('ok', '0+9x480')],
    labels: TARGET,
  },
  AvocadoFirstTokenFast: { minutes: 100, scraped: firstTokens('0+1x120', '0+5x120'), labels: TARGET },
  AvocadoFirstTokenSlow: { minutes: 450, scraped: firstTokens('0+1x480', '0+2x480'), labels: TARGET },
  AvocadoDown: { minutes: 10, scraped: [series('up', '0x20')], labels: POD },
  AvocadoEngineDown: {
    minutes: 20,
    scraped: [
      series('avocado_engine_ready', '1x30', { engine: '0', device: 'cuda:0' }),
      series('avocado_engine_ready', '0x30', { engine: '1', device: 'cuda:1' }),
    ],
    labels: POD,
  },
  AvocadoEngineRestarting: {
    minutes: 30,
    scraped: [series('avocado_engine_restarts_total', '0x9 1x9 2x5 3x10')],
    labels: POD,
  },
  AvocadoNoProgress: {
    minutes: 10,
    scraped: [
      series('avocado_requests_running', '1x20', { stage: 'generate' }),
      series('avocado_engine_steps_total', '7x20'),
    ],
    labels: POD,
  },
  AvocadoQueueGrowing: { minutes: 40, scraped: [series('avocado_queue_work_seconds', '0+20x60')], labels: POD },
  AvocadoRefusals: {
    minutes: 30,
    scraped: [
      series('avocado_requests_rejected_total', '0+1x60', { reason: 'queue_work' }),
      requests('rejected', '0+1x60', 'queue_full'),
      requests('ok', '0+9x60'),
    ],
    labels: TARGET,
  },
  AvocadoTemporarySpace: {
    minutes: 10,
    scraped: [series('avocado_temporary_bytes', '90x20'), series('avocado_temporary_bytes_limit', '100x20')],
    labels: POD,
  },
  AvocadoMediaErrors: {
    minutes: 40,
    scraped: [
      series('avocado_media_errors_total', '0+1x60', { reason: 'media_undecodable' }),
      requests('error', '0+1x60', 'media_undecodable'),
      requests('ok', '0+1x60'),
    ],
    labels: { ...TARGET, reason: 'media_undecodable' },
  },
  AvocadoKvCacheFull: { minutes: 20, scraped: [series('avocado_kv_cache_usage_ratio', '0.99x30')], labels: POD },
  AvocadoJobsStalled: {
    minutes: 45,
    scraped: [
      series('avocado_jobs_oldest_ready_seconds', '0+60x60'),
      series('avocado_job_items_committed_total', '0+1x5 5x60', { state: 'completed', code: '' }),
    ],
    labels: { namespace: 'here' },
  },
  AvocadoStepsNotRecorded: {
    minutes: 20,
    scraped: [
      series('avocado_engine_step_recorded', '1x30', { size: '1' }),
      series('avocado_engine_step_recorded', '0x30', { size: '2' }),
    ],
    labels: POD,
  },
  AvocadoEventLoopBlocked: {
    minutes: 20,
    scraped: [series('avocado_event_loop_delay_max_seconds', '2x30')],
    labels: POD,
  },
};

/** A busy server on which nothing is wrong: one file in twenty is bad, one request in fifty is refused. */
const HEALTHY = [
  requests('ok', '0+90x480'),
  requests('error', '0+5x480', 'media_undecodable'),
  requests('error', '0x480', 'engine_error'),
  requests('rejected', '0+2x480', 'queue_full'),
  series('avocado_media_errors_total', '0+5x480', { reason: 'media_undecodable' }),
  series('avocado_requests_rejected_total', '0+2x480', { reason: 'queue_work' }),
  ...firstTokens('0+88x480', '0+90x480'),
  series('up', '1x480'),
  series('avocado_engine_ready', '1x480', { engine: '0', device: 'cpu' }),
  series('avocado_engine_restarts_total', '0x200 1x279'),
  series('avocado_requests_running', '3x480', { stage: 'generate' }),
  series('avocado_engine_steps_total', '0+900x480'),
  series('avocado_queue_work_seconds', '100+5x10 150-5x10 '.repeat(21).trim()),
  series('avocado_temporary_bytes', '40x480'),
  series('avocado_temporary_bytes_limit', '100x480'),
  series('avocado_kv_cache_usage_ratio', '0.7x480'),
  series('avocado_event_loop_delay_max_seconds', '0.02x480'),
  series('avocado_engine_step_recorded', '1x480', { size: '1' }),
  series('avocado_jobs_oldest_ready_seconds', '0+60x480'),
  series('avocado_job_items_committed_total', '0+1x480', { state: 'completed', code: '' }),
];

describe.skipIf(HELM === undefined)('alerts', () => {
  let rules: readonly Rule[];
  const file = scratch('rules.yaml');
  beforeAll(async () => {
    const flags = ['--namespace', 'here', '--set', 'metrics.prometheusRule.enabled=true'];
    const { stdout } = await helm('template', 'r', CHART, '--show-only', 'templates/prometheusrule.yaml', ...flags);
    const [document] = parseAllDocuments(stdout);
    const { spec } = document?.toJS() as { spec: { groups: { rules: Rule[] }[] } };
    writeFileSync(file, JSON.stringify(spec));
    rules = spec.groups.flatMap((group) => group.rules);
  });
  const alerts = (): Rule[] => rules.filter(({ alert }) => alert !== undefined);

  it('name only metrics and labels that the server has', () => {
    expect(rules.length).toBeGreaterThan(20);
    for (const { expr } of rules) expect(unknownIn(expr), expr).toEqual([]);
  });

  it('take an error for the server’s fault by its status', () => {
    const faults = rules.map(({ expr }) => /code=~"([^"]+)"/.exec(expr)?.[1]).filter((found) => found !== undefined);
    expect(faults).toHaveLength(4);
    const expected = Object.entries(ERRORS).filter(
      ([code, { status }]) => status >= 500 || code === 'deadline_exceeded',
    );
    for (const pattern of faults)
      expect(
        Object.keys(ERRORS)
          .filter((code) => new RegExp(`^(${pattern})$`).test(code))
          .sort(),
      ).toEqual(expected.map(([code]) => code).sort());
  });

  it('have a runbook each, and a case below', () => {
    const names = alerts().map(({ alert }) => alert);
    expect(readdirSync(join(CHART, 'runbooks')).sort()).toEqual(names.map((name) => `${name}.md`).sort());
    expect(Object.keys(FIRES).sort()).toEqual([...names].sort());
  });

  it.skipIf(PROMTOOL === undefined)('fire on what they are for, and not on a healthy server', async () => {
    const expected = ({ alert = '', labels, annotations }: Rule): object => ({
      exp_labels: { ...labels, ...FIRES[alert]?.labels },
      exp_annotations: annotations,
    });
    const fires = alerts().map((rule) => {
      const { minutes = 0, scraped } = FIRES[rule.alert ?? ''] ?? {};
      const test = { eval_time: `${minutes}m`, alertname: rule.alert, exp_alerts: [expected(rule)] };
      return { interval: '1m', input_series: scraped, alert_rule_test: [test] };
    });
    const silent = alerts().flatMap(({ alert }) =>
      [60, 240, 470].map((minute) => ({ eval_time: `${minute}m`, alertname: alert, exp_alerts: [] })),
    );
    const tests = scratch('tests.yaml');
    writeFileSync(
      tests,
      JSON.stringify({
        rule_files: [file],
        evaluation_interval: '5m',
        tests: [...fires, { interval: '1m', input_series: HEALTHY, alert_rule_test: silent }],
      }),
    );
    const run = promisify(execFile)(PROMTOOL ?? '', ['test', 'rules', tests]);
    const { stdout, stderr } = await run.catch((error: unknown) => error as { stdout: string; stderr: string });
    expect(stderr).toBe('');
    expect(stdout).toContain('SUCCESS');
  });
});
