// The Helm chart: lint, rendered objects against the schemas of Kubernetes, what the parts must hold.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { readSettings } from '../../src/settings/read-settings.ts';
import { SETTING_NAMES } from '../../src/settings/schema.ts';
import { uncommentedValues } from '../docs/chart-pages.ts';
import { HELM, helm, kubectl } from '../fixtures/helm.ts';
import { HAS_SCHEMAS, schemaErrors, VERSIONS } from '../fixtures/kubernetes-schemas.ts';
import {
  CHART,
  example,
  EXAMPLES,
  objectsOf,
  one,
  podOf,
  podTemplateOf,
  render,
  settingsOf,
  type PodTemplate,
  type Rendered,
  type Values,
} from '../fixtures/rendered-chart.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';

const scratch = scratchDirectory();
const GPU = { device: 'cuda', runtimeClassName: 'nvidia', gpu: { resource: 'nvidia.com/mig-3g.40gb' } };
const INIT = { enabled: true, image: 'busybox:1.37', command: ['sh', '-c'], args: ['true'], env: [{ name: 'A' }] };
const KEYS = { apiKeys: { existingSecret: 'keys' } };

const WORKERS = { database: { existingSecret: 'db' }, workers: { enabled: true } };
/** Values with jobs on a PostgreSQL. */
const WITH_JOBS: readonly Values[] = [
  { jobs: { database: { existingSecret: 'db', key: 'address', to: [{ podSelector: {} }] } } },
  {
    jobs: { database: { existingSecret: 'db' }, migration: { enabled: false }, webhooks: { existingSecret: 'hooks' } },
  },
  { jobs: { ...WORKERS, migration: { existingSecret: 'owner' } }, metrics: { serviceMonitor: { enabled: true } } },
  {
    ...GPU,
    ...KEYS,
    jobs: {
      ...WORKERS,
      workers: { enabled: true, keda: { enabled: true, key: 'read' }, resources: { limits: { cpu: '2' } } },
    },
    metrics: { podMonitor: { enabled: true }, prometheusRule: { enabled: true } },
  },
];

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
  ...WITH_JOBS,
];

/** Of a pod template: the labels that select its pods. */
function labelsOf({ metadata }: PodTemplate): object {
  return Object.fromEntries(Object.entries(metadata.labels).filter(([name]) => /[/](name|instance)$/.test(name)));
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
    rendered = await render(scratch('many'), [...EXAMPLES.map(example), ...COMBINATIONS]);
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

  it.skipIf(!HAS_SCHEMAS)(
    'renders objects of the shapes that three versions of Kubernetes and the operators ask for',
    async () => {
      const kinds = new Set<string>();
      for (const object of rendered.flat()) {
        kinds.add(object.kind);
        expect(await schemaErrors(object), `${object.kind} ${object.metadata.name}`).toEqual([]);
      }
      expect(kinds.size).toBe(17);
      const wrong = await schemaErrors({ kind: 'Service', spec: { ports: [{ port: 'http' }] } } as never);
      expect(new Set(wrong.map(([name]) => name))).toEqual(new Set(VERSIONS));
    },
  );

  it('mounts only volumes that there are, and lets no container do more than it needs', () => {
    for (const objects of rendered) {
      const claims = objects
        .filter(({ kind }) => kind === 'PersistentVolumeClaim')
        .map(({ metadata }) => metadata.name);
      for (const pod of objects.flatMap(({ spec }) => spec?.template?.spec ?? [])) {
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
        for (const { persistentVolumeClaim } of pod.volumes)
          if (persistentVolumeClaim?.claimName.startsWith('r-') === true)
            expect(claims).toContain(persistentVolumeClaim.claimName);
      }
    }
  });

  it('writes a config file that the server understands', () => {
    const file = scratch('settings.json');
    const files = rendered.flat().flatMap(({ data }) => data?.['settings.json'] ?? []);
    expect(files.length).toBeGreaterThan(rendered.length);
    for (const text of files) {
      writeFileSync(file, text);
      const { values } = readSettings(SETTING_NAMES, { flags: {}, variables: {}, file });
      expect(values).toMatchObject({ host: '0.0.0.0', port: 8080, cacheDir: '/cache' });
    }
    const tuned = rendered
      .map((objects) => settingsOf(objects))
      .find(({ slots, max_temp_bytes: bytes }) => slots === 8 && bytes !== undefined);
    expect(tuned).toMatchObject({ slots: 8, max_temp_bytes: 8_589_934_592, url_host: ['a.example'] });
  });

  it('gives a pod the time that its drain takes, and asks three different questions', () => {
    const drains: number[] = [];
    for (const objects of rendered) {
      const { terminationGracePeriodSeconds, containers } = podOf(objects);
      const [server] = containers;
      const sleep = Number(server.lifecycle?.preStop.exec.command[1]);
      const drain = Number(settingsOf(objects)['drain_seconds']);
      drains.push(drain);
      // Ten seconds to close everything, as operations.md says, and some to spare.
      expect(terminationGracePeriodSeconds).toBe(sleep + drain + 25);
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
      const scaler = objects.find(
        ({ kind, metadata }) =>
          ['ScaledObject', 'HorizontalPodAutoscaler'].includes(kind) && !metadata.name.endsWith('-worker'),
      );
      const replicas = one(objects, 'Deployment').spec?.replicas;
      if (scaler === undefined) expect(replicas).toBeTypeOf('number');
      else expect(replicas).toBeUndefined();
      if (scaler !== undefined) expect(JSON.stringify(scaler)).toContain('avocado_queue_work_seconds');
    }
  });

  it('has workers that no Service leads to, that take no requests, and whose work the servers leave to them', () => {
    const fleet = exampleOf('fleet');
    const worker = podTemplateOf(fleet, true);
    const service = one(fleet, 'Service').spec?.selector as Readonly<Record<string, string>>;
    const labels = worker.metadata.labels as Readonly<Record<string, string>>;
    expect(Object.entries(service).every(([name, value]) => labels[name] === value)).toBe(false);
    expect(settingsOf(fleet, true)).toMatchObject({ jobs_only: true, slots: 16, drain_seconds: 300 });
    expect(settingsOf(fleet, true)).not.toHaveProperty('job_slots');
    expect(settingsOf(fleet)).toMatchObject({ job_slots: 0 });
    expect(settingsOf(fleet)).not.toHaveProperty('jobs_only');
    // No proxy must learn that it goes: it drains at once.
    expect(worker.spec.containers[0].lifecycle).toBeUndefined();
    expect(worker.spec.terminationGracePeriodSeconds).toBe(325);
    for (const template of [worker, podTemplateOf(fleet)])
      expect(JSON.stringify(template)).toContain(
        '{"name":"AVOCADO_DATABASE_URL","valueFrom":{"secretKeyRef":{"name":"avocado-database","key":"url"}}}',
      );
    const scaler = JSON.stringify(one(fleet, 'ScaledObject', true));
    for (const part of ['"type":"postgresql"', '"minReplicaCount":0', '"targetQueryValue":"200"', "= 'in_progress'"])
      expect(scaler).toContain(part);
    expect(JSON.stringify(one(fleet, 'TriggerAuthentication', true))).toContain('"parameter":"connection"');
    expect(one(fleet, 'PodMonitor', true).spec?.selector).toEqual({ matchLabels: labelsOf(worker) });
    expect(JSON.stringify(one(fleet, 'NetworkPolicy', true))).toContain('"port":5432');
    for (const range of ['"168.63.129.16/32"', '"cidr":"2000::/3"', '"2002::/16"'])
      expect(JSON.stringify(one(fleet, 'NetworkPolicy', true))).toContain(range);
  });

  it('changes the tables in a Job before an upgrade, with a Secret of its own where there is one', () => {
    const jobs = rendered.map((objects) => objects.find(({ kind }) => kind === 'Job'));
    const urls = jobs.flatMap((job) =>
      job === undefined ? [] : [/secretKeyRef":(\{[^}]*\})/.exec(JSON.stringify(job))?.[1]],
    );
    expect(urls).toEqual([
      '{"name":"avocado-database","key":"url"}', // fleet
      '{"name":"db","key":"address"}',
      '{"name":"owner","key":"url"}',
      '{"name":"db","key":"url"}',
    ]);
    expect(JSON.stringify(jobs[EXAMPLES.indexOf('fleet')])).toContain('"helm.sh/hook":"pre-install,pre-upgrade"');
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
    expect(pod).toMatchObject({ runtimeClassName: 'nvidia', terminationGracePeriodSeconds: 640 });
    expect(settingsOf(fleet)).toMatchObject({
      api_keys: '/etc/avocado-keys/keys.txt',
      media_root: ['films=/media/films'],
    });
  });

  it('does not replace pods for a new version of the chart, whatever the values', async () => {
    const newer = await render(scratch('newer'), [...EXAMPLES.map(example), ...COMBINATIONS], '10.0.0');
    const labels = newer.map((objects) => one(objects, 'Deployment').metadata.labels?.['helm.sh/chart']);
    expect(new Set(labels).size).toBeGreaterThan(1); // a long name is in it
    for (const [index, objects] of newer.entries()) {
      expect(podTemplateOf(objects)).toEqual(podTemplateOf(rendered[index] ?? []));
      if (objects.some(({ kind, metadata }) => kind === 'Deployment' && metadata.name.endsWith('-worker')))
        expect(podTemplateOf(objects, true)).toEqual(podTemplateOf(rendered[index] ?? [], true));
    }
  });

  it('replaces pods for their own settings, and not for another Service or another scale', async () => {
    const templateOf = async (...args: readonly string[]): Promise<PodTemplate> =>
      podTemplateOf(objectsOf((await helm('template', 'r', CHART, ...args)).stdout));
    const before = await templateOf();
    const others = ['--set', 'replicas=5,service.port=80,metrics.podMonitor.enabled=true,networkPolicy.enabled=false'];
    expect(await templateOf(...others)).toEqual(before);
    expect(await templateOf('--set', 'settings.slots=5')).not.toEqual(before);
  });

  it('is installed by the commands that the documents give', async () => {
    const pages = [
      '.github/docs/deployment.md',
      'helm/avocado/README.md',
      ...EXAMPLES.map((name) => `helm/avocado/examples/${name}.yaml`),
    ];
    const text = pages.map((name) => readFileSync(join(CHART, '../..', name), 'utf8')).join('\n');
    const commands = [...text.matchAll(/^(?:# +)?((?:helm|kubectl) .+)$/gm)].map(([, line = '']) => line);
    const told = [...new Set(commands)].map((command) => command.split(' '));
    expect(told.map(([program, verb]) => `${program} ${verb}`).sort()).toEqual([
      ...['helm install', 'helm template', 'helm test'],
      ...['kubectl create', 'kubectl create', 'kubectl create'],
    ]);
    // Without a cluster: what the commands would send is made and checked. A Secret's file is that of the repository.
    const offline = '--dry-run=client';
    for (const [program, ...args] of told) {
      const line = [program, ...args].join(' ');
      if (program === 'kubectl') {
        const here = args.map((arg) => arg.replace('keys.txt', 'LICENSE'));
        const run = await kubectl(...here, offline, '-o', 'yaml');
        expect(run.failed, `${line}: ${run.stderr}`).toBe(false);
        expect(run.stdout).toContain('kind: Secret');
      } else if (args[0] === 'test') {
        const hooks = rendered[0]?.filter(({ kind }) => kind === 'Pod');
        expect(JSON.stringify(hooks)).toContain('"helm.sh/hook":"test"');
      } else {
        const run = await helm(...args, ...(args[0] === 'install' ? [offline] : []));
        expect(run.failed, `${line}: ${run.stderr}`).toBe(false);
        expect(run.stdout).toContain('kind: Deployment');
      }
    }
  });

  it('tells the next command', async () => {
    const run = await helm('install', 'r', CHART, '--dry-run=client', '--namespace', 'here');
    expect(run.stdout).toContain('kubectl --namespace here rollout status deployment/r-avocado --timeout=600s');
    expect(run.stdout).toContain('-F file=@clip.mp4 http://127.0.0.1:8080/v1/captions');
    expect(run.stdout).toContain('WARNING: no key is needed.');
  });
});
