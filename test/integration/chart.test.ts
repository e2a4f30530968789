// The Helm chart, rendered by the real helm without a cluster. Many sets of values are rendered in one run: a chart
// around ours has it as a dependency once for each set.
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { parse, parseAllDocuments, stringify } from 'yaml';
import { readSettings } from '../../src/settings/read-settings.ts';
import { SETTING_NAMES } from '../../src/settings/schema.ts';
import { uncommentedValues } from '../docs/chart-pages.ts';
import { HELM, helm } from '../fixtures/helm.ts';
import { HAS_SCHEMAS, schemaErrors } from '../fixtures/kubernetes-schemas.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';

const CHART = fileURLToPath(new URL('../../helm/avocado', import.meta.url));
const scratch = scratchDirectory();
const EXAMPLES = ['laptop', 'one-gpu', 'fleet'];

interface Container {
  readonly securityContext: object;
  readonly volumeMounts: readonly { readonly name: string }[];
  readonly resources: { readonly limits?: Readonly<Record<string, unknown>> };
  readonly lifecycle: { readonly preStop: { readonly exec: { readonly command: readonly string[] } } };
  readonly startupProbe: Probe;
  readonly livenessProbe: Probe;
  readonly readinessProbe: Probe;
}

interface Probe {
  readonly httpGet: { readonly path: string };
}

interface PodTemplate {
  readonly metadata: { readonly labels: object };
  readonly spec: {
    readonly initContainers?: readonly Container[];
    readonly containers: readonly [Container];
    readonly volumes: readonly {
      readonly name: string;
      readonly persistentVolumeClaim?: { readonly claimName: string };
    }[];
    readonly terminationGracePeriodSeconds: number;
  };
}

/** A rendered object, as far as the tests read it. */
interface Rendered {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: { readonly replicas?: number; readonly selector?: object; readonly template?: PodTemplate };
}

type Values = Readonly<Record<string, unknown>>;

function example(name: string): Values {
  return parse(readFileSync(join(CHART, 'examples', `${name}.yaml`), 'utf8')) as Values;
}

const GPU = { device: 'cuda', runtimeClassName: 'nvidia', gpu: { resource: 'nvidia.com/mig-3g.40gb' } };
const INIT = { enabled: true, image: 'busybox:1.37', command: ['sh', '-c'], args: ['true'], env: [{ name: 'A' }] };
const KEYS = { apiKeys: { existingSecret: 'keys' } };

/** Values that switch something on, one or more at a time. */
const COMBINATIONS: readonly Values[] = [
  {},
  { fullnameOverride: 'a-name-of-our-own', commonLabels: { team: 'video' }, podLabels: { tier: 'gpu' } },
  { nameOverride: 'x'.repeat(60) },
  { image: { digest: `sha256:${'0'.repeat(64)}` }, imagePullSecrets: [{ name: 'registry' }] },
  { image: { tag: 'main' }, replicas: 3 },
  GPU,
  { ...GPU, resources: { limits: null } },
  { settings: { slots: 8, max_temp_bytes: 8_589_934_592, url_host: ['a.example'], log_content: true, threads: 3 } },
  { drainSeconds: 600, preStopSeconds: 0 },
  { extraEnv: [{ name: 'AVOCADO_LOG_LEVEL', value: 'debug' }] },
  { model: { source: 'claim' } },
  { model: { source: 'claim', path: 'a/b', claim: { existing: 'weights' } } },
  { model: { source: 'claim', init: INIT } },
  { model: { source: 'emptyDir', init: INIT } },
  { model: { source: 'image', image: { reference: 'models/avocado:1', pullPolicy: 'Always' } } },
  { cache: { type: 'claim', claim: { storageClassName: 'fast', accessModes: ['ReadWriteMany'] } } },
  { cache: { type: 'claim', claim: { existing: 'exports' } }, temporary: { sizeLimit: '1Gi' } },
  {
    mediaRoots: [
      { name: 'films', existingClaim: 'films', subPath: 'a' },
      { name: 'x', existingClaim: 'z' },
    ],
  },
  { ...KEYS, ingress: { enabled: true, className: 'nginx', hosts: ['a.example'], tls: [{ hosts: ['a.example'] }] } },
  { apiKeys: { allowAnonymous: true }, httpRoute: { enabled: true, parentRefs: [{ name: 'public' }] } },
  { serviceAccount: { create: false } },
  { serviceAccount: { name: 'captions', annotations: { a: 'b' } } },
  { autoscaling: { hpa: { enabled: true, maxReplicas: 9 } } },
  { autoscaling: { keda: { enabled: true, authentication: 'prometheus' } } },
  { ...KEYS, metrics: { serviceMonitor: { enabled: true }, credentials: { name: 'keys', key: 'prometheus' } } },
  { metrics: { podMonitor: { enabled: true, labels: { release: 'prometheus' } } } },
  { metrics: { prometheusRule: { enabled: true, firstTokenSeconds: 2.5, alertLabels: { team: 'video' } } } },
  { metrics: { prometheusRule: { enabled: true, runbookUrl: 'https://runbooks.example/' } } },
  { metrics: { dashboards: { enabled: true, annotations: { folder: 'captions' } } } },
  { networkPolicy: { egress: { public: false, extra: [{ to: [{ podSelector: {} }] }] }, from: [{ podSelector: {} }] } },
  { networkPolicy: { enabled: false }, podDisruptionBudget: { maxUnavailable: '50%' } },
  { podSecurityContext: { runAsUser: null, runAsGroup: null, fsGroup: null }, topologySpreadConstraints: [] },
  { strategy: { type: 'Recreate', rollingUpdate: null }, priorityClassName: 'high', nodeSelector: { gpu: 'h100' } },
  {
    ...GPU,
    tolerations: [{ operator: 'Exists' }],
    affinity: { podAntiAffinity: {} },
    probes: { readiness: { path: '/readyz' } },
  },
  {
    extraVolumes: [{ name: 'cuda', emptyDir: {} }],
    extraVolumeMounts: [{ name: 'cuda', mountPath: '/cuda' }],
    podAnnotations: { a: 'b' },
  },
];

/** A chart that has ours as a dependency under the name c0, c1, …, with these values. */
function chartOf(folder: string, sets: readonly Values[]): string {
  mkdirSync(join(folder, 'charts'), { recursive: true });
  cpSync(CHART, join(folder, 'charts/avocado'), { recursive: true });
  const { version } = parse(readFileSync(join(CHART, 'Chart.yaml'), 'utf8')) as { version: string };
  const dependencies = sets.map((_, index) => ({ name: 'avocado', version, alias: `c${index}` }));
  writeFileSync(
    join(folder, 'Chart.yaml'),
    stringify({ apiVersion: 'v2', name: 'many', version: '0.0.0', dependencies }),
  );
  // JSON is YAML.
  const values = Object.fromEntries(sets.map((set, index) => [`c${index}`, set]));
  writeFileSync(join(folder, 'values.yaml'), JSON.stringify(values));
  return folder;
}

function objectsOf(yaml: string): Rendered[] {
  return parseAllDocuments(yaml)
    .map((document) => {
      expect(document.errors).toEqual([]);
      return document.toJS() as Rendered | null;
    })
    .filter((object) => object !== null);
}

let charts = 0;

/** Rendered objects of each set of values. */
async function render(sets: readonly Values[]): Promise<Rendered[][]> {
  const run = await helm('template', 'r', chartOf(scratch(`many-${(charts += 1)}`), sets), '--namespace', 'here');
  expect(run.stderr).toBe('');
  const groups = sets.map((): Rendered[] => []);
  let group = 0;
  // Each document begins with the file that it comes from: many/charts/c7/templates/…
  for (const part of run.stdout.split(/^(?=---\n# Source: )/m)) {
    group = Number(/^# Source: many\/charts\/c(\d+)\//m.exec(part)?.[1] ?? group);
    groups[group]?.push(...objectsOf(part));
  }
  return groups;
}

function one(objects: readonly Rendered[], kind: string): Rendered {
  const found = objects.filter((object) => object.kind === kind);
  expect(found.map(({ metadata }) => metadata.name)).toHaveLength(1);
  return found[0] as Rendered;
}

function podTemplateOf(objects: readonly Rendered[]): PodTemplate {
  const template = one(objects, 'Deployment').spec?.template;
  if (template === undefined) throw new Error('The Deployment has no template.');
  return template;
}

function podOf(objects: readonly Rendered[]): PodTemplate['spec'] {
  return podTemplateOf(objects).spec;
}

function settingsOf(objects: readonly Rendered[]): Values {
  const maps = objects.filter(({ kind, data }) => kind === 'ConfigMap' && data?.['settings.json'] !== undefined);
  expect(maps).toHaveLength(1);
  return JSON.parse(maps[0]?.data?.['settings.json'] ?? '') as Values;
}

describe('values', () => {
  it('have a comment each', () => {
    expect(uncommentedValues(readFileSync(join(CHART, 'values.yaml'), 'utf8'))).toEqual([]);
    expect(uncommentedValues('a:\n  # said\n  b: 1\n  c: 2\n')).toEqual(['a.c']);
  });
});

describe.skipIf(HELM === undefined)('the chart', () => {
  let rendered: Rendered[][];
  beforeAll(async () => {
    rendered = await render([...EXAMPLES.map(example), ...COMBINATIONS]);
  });
  const exampleOf = (name: string): Rendered[] => rendered[EXAMPLES.indexOf(name)] ?? [];

  it('passes strict lint with every example', async () => {
    for (const name of EXAMPLES) {
      const run = await helm('lint', '--strict', CHART, '--values', join(CHART, `examples/${name}.yaml`));
      expect(run.failed, `${name}: ${run.stdout}${run.stderr}`).toBe(false);
    }
  });

  it('renders a Deployment whose pods the Service finds, for every set of values', () => {
    expect(rendered).toHaveLength(EXAMPLES.length + COMBINATIONS.length);
    for (const objects of rendered) {
      const { matchLabels } = one(objects, 'Deployment').spec?.selector as { matchLabels: object };
      expect(podTemplateOf(objects).metadata.labels).toMatchObject(matchLabels);
      expect(one(objects, 'Service').spec?.selector).toEqual(matchLabels);
      for (const { metadata } of objects) expect(metadata.name).toMatch(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])$/);
      const names = objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
      expect(new Set(names).size).toBe(names.length);
    }
  });

  it.skipIf(!HAS_SCHEMAS)('renders objects of the shapes that Kubernetes and the operators ask for', async () => {
    const kinds = new Set<string>();
    for (const object of rendered.flat()) {
      kinds.add(object.kind);
      expect(await schemaErrors(object), `${object.kind} ${object.metadata.name}`).toEqual([]);
    }
    expect(kinds.size).toBe(15);
    expect(await schemaErrors({ kind: 'Service', spec: { ports: [{ port: 'http' }] } } as never)).not.toEqual([]);
  });

  it('mounts only volumes that there are, and lets no container do more than it needs', () => {
    for (const objects of rendered) {
      const pod = podOf(objects);
      const volumes = pod.volumes.map(({ name }) => name);
      expect(pod).toMatchObject({ automountServiceAccountToken: false, securityContext: { runAsNonRoot: true } });
      for (const container of [...(pod.initContainers ?? []), ...pod.containers]) {
        expect(container.securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        });
        for (const { name } of container.volumeMounts) expect(volumes).toContain(name);
      }
      const claims = objects
        .filter(({ kind }) => kind === 'PersistentVolumeClaim')
        .map(({ metadata }) => metadata.name);
      for (const { persistentVolumeClaim } of pod.volumes)
        if (persistentVolumeClaim?.claimName.startsWith('r-') === true)
          expect(claims).toContain(persistentVolumeClaim.claimName);
    }
  });

  it('writes a config file that the server understands', () => {
    const file = scratch('settings.json');
    for (const objects of rendered) {
      const settings = settingsOf(objects);
      writeFileSync(file, JSON.stringify(settings));
      const { values } = readSettings(SETTING_NAMES, { flags: {}, variables: {}, file });
      expect(values).toMatchObject({ host: '0.0.0.0', port: 8080, cacheDir: '/cache' });
    }
    const tuned = rendered
      .map(settingsOf)
      .find(({ slots, max_temp_bytes: bytes }) => slots === 8 && bytes !== undefined);
    expect(tuned).toMatchObject({ slots: 8, max_temp_bytes: 8_589_934_592, url_host: ['a.example'] });
  });

  it('gives a pod the time that its drain takes, and asks three different questions', () => {
    const drains: number[] = [];
    for (const objects of rendered) {
      const { terminationGracePeriodSeconds, containers } = podOf(objects);
      const [server] = containers;
      const sleep = Number(server.lifecycle.preStop.exec.command[1]);
      const drain = Number(settingsOf(objects)['drain_seconds']);
      drains.push(drain);
      // Ten seconds to close everything, as operations.md says, and some to spare.
      expect(terminationGracePeriodSeconds).toBe(sleep + drain + 15);
      expect(server.startupProbe.httpGet.path).toBe('/readyz');
      expect(server.livenessProbe.httpGet.path).toBe('/healthz');
      expect(['/ping', '/readyz']).toContain(server.readinessProbe.httpGet.path);
    }
    expect(new Set(drains)).toEqual(new Set([20, 300, 600]));
  });

  it('asks for one GPU exactly where the device is cuda', () => {
    for (const objects of rendered) {
      const pod = podOf(objects);
      const gpus = Object.entries(pod.containers[0].resources.limits ?? {}).filter(([name]) => name.includes('/'));
      expect(gpus.map(([, count]) => count)).toEqual(settingsOf(objects)['device'] === 'cuda' ? [1] : []);
    }
  });

  it('leaves the number of pods to the autoscaler, where there is one', () => {
    for (const objects of rendered) {
      const scaler = objects.find(({ kind }) => kind === 'ScaledObject' || kind === 'HorizontalPodAutoscaler');
      const replicas = one(objects, 'Deployment').spec?.replicas;
      if (scaler === undefined) expect(replicas).toBeTypeOf('number');
      else expect(replicas).toBeUndefined();
      if (scaler !== undefined) expect(JSON.stringify(scaler)).toContain('avocado_queue_work_seconds');
    }
  });

  it('renders the fleet with all its parts', () => {
    const fleet = exampleOf('fleet');
    const kinds = new Set(fleet.map(({ kind }) => kind));
    for (const kind of [
      'ScaledObject',
      'ServiceMonitor',
      'PrometheusRule',
      'NetworkPolicy',
      'PodDisruptionBudget',
      'HTTPRoute',
    ])
      expect(kinds).toContain(kind);
    const dashboards = readdirSync(join(CHART, 'dashboards'));
    expect(fleet.filter(({ metadata }) => metadata.labels?.['grafana_dashboard'] === '1')).toHaveLength(
      dashboards.length,
    );
    const pod = podOf(fleet);
    expect(pod).toMatchObject({ runtimeClassName: 'nvidia', terminationGracePeriodSeconds: 630 });
    expect(settingsOf(fleet)).toMatchObject({
      api_keys: '/etc/avocado-keys/keys.txt',
      media_root: ['films=/media/films'],
    });
  });

  it('does not replace pods for a new version of the chart, another Service or another scale', async () => {
    const folder = scratch('newer');
    cpSync(CHART, folder, { recursive: true });
    const text = readFileSync(join(CHART, 'Chart.yaml'), 'utf8');
    writeFileSync(join(folder, 'Chart.yaml'), text.replace(/^version: .*$/m, 'version: 9.9.9'));
    const templateOf = async (chart: string, ...args: readonly string[]): Promise<PodTemplate> =>
      podTemplateOf(objectsOf((await helm('template', 'r', chart, ...args)).stdout));
    const before = await templateOf(CHART);
    const others = ['--set', 'replicas=5,service.port=80,metrics.podMonitor.enabled=true,networkPolicy.enabled=false'];
    expect(await templateOf(folder, ...others)).toEqual(before);
    expect(await templateOf(CHART, '--set', 'settings.slots=5')).not.toEqual(before);
  });

  it('tells the next command', async () => {
    const run = await helm('install', 'r', CHART, '--dry-run=client', '--namespace', 'here');
    expect(run.stdout).toContain('kubectl --namespace here rollout status deployment/r-avocado --timeout=600s');
    expect(run.stdout).toContain('-F file=@clip.mp4 http://127.0.0.1:8080/v1/captions');
    expect(run.stdout).toContain('WARNING: no key is needed.');
  });
});

/** Values that the schema refuses, and what it says of each. */
const REFUSED: readonly (readonly [values: Values, said: RegExp])[] = [
  [{ replica: 2 }, /'replica' not allowed/],
  [{ image: { tags: 'x' } }, /'tags' not allowed/],
  [{ settings: { slot: 3 } }, /'slot' not allowed/],
  [{ settings: { port: 80 } }, /'port' not allowed/],
  [{ settings: { slots: 'many' } }, /\/settings\/slots'.*want number/],
  [{ device: 'gpu' }, /\/device'.*'cpu', 'cuda'/],
  [{ replicas: -1 }, /\/replicas'/],
  [{ drainSeconds: 1.5 }, /\/drainSeconds'/],
  [{ model: { path: '../secret' } }, /\/model\/path'/],
  [{ autoscaling: { keda: { minReplicas: 0 } } }, /\/autoscaling\/keda\/minReplicas'/],
  [{ metrics: { prometheusRule: { firstTokenSeconds: 7 } } }, /firstTokenSeconds'/],
  [{ metrics: { credentials: { name: 'x' } } }, /credentials'/],
  [{ networkPolicy: { egress: { ports: ['http'] } } }, /ports\/0'/],
  [{ cache: { type: 'hostPath' } }, /\/cache\/type'/],
  [{ temporary: { sizeLimit: 'much' } }, /\/temporary\/sizeLimit'/],
  [{ probes: { readiness: { path: '/healthz' } } }, /\/probes\/readiness\/path'/],
];

/** Combinations that the templates refuse, and what they say of each. */
const CONTRADICTIONS: readonly (readonly [flags: string, said: string])[] = [
  ['autoscaling.hpa.enabled=true,autoscaling.keda.enabled=true', 'Enable one.'],
  ['autoscaling.hpa.enabled=true,autoscaling.hpa.minReplicas=9', 'must not be less than minReplicas'],
  ['metrics.serviceMonitor.enabled=true,metrics.podMonitor.enabled=true', 'scraped twice'],
  ['ingress.enabled=true,ingress.hosts={a.example}', 'Set apiKeys.existingSecret'],
  ['model.source=image', 'needs model.image.reference'],
  ['model.source=emptyDir', 'enable model.init'],
  ['model.init.enabled=true,model.init.image=x', 'model.source is neither'],
];

describe.skipIf(HELM === undefined)('wrong values', () => {
  it('are refused by the schema, which names each', async () => {
    const sets = REFUSED.map(([values]) => values);
    const { failed, stderr } = await helm('template', 'r', chartOf(scratch('wrong'), sets));
    expect(failed).toBe(true);
    for (const [index, [, said]] of REFUSED.entries())
      expect(new RegExp(`^c${index}:\\n([^]*?)(?=^c\\d+:|$(?![^]))`, 'm').exec(stderr)?.[1] ?? stderr).toMatch(said);
  });

  it.each(CONTRADICTIONS)('are refused where they contradict each other: %s', async (flags, said) => {
    const { failed, stderr } = await helm('template', 'r', CHART, '--set', flags);
    expect(failed).toBe(true);
    expect(stderr).toContain(said);
  });
});
