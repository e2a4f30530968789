// What lies beside the Helm chart's templates and is made: its README from the comments of values.yaml, and the part of
// its schema that names the server's settings.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { fileName, SETTING_NAMES, settingOf } from '../../src/settings/schema.ts';
import type { Setting } from '../../src/settings/setting.ts';

const CHART = fileURLToPath(new URL('../../helm/avocado/', import.meta.url));

/** Settings that the chart writes itself, from values of its own. */
const OWN = [
  ...['host', 'port', 'tls_cert', 'tls_key', 'model', 'device', 'cache_dir', 'drain_seconds', 'media_root', 'api_keys'],
  ...['database', 'jobs_only', 'webhook_secret'],
];

interface Entry {
  /** keys from the top */
  readonly path: readonly string[];
  readonly comment: string;
}

/** Every commented key of values.yaml, in order. */
export function commentedValues(text: string): Entry[] {
  const entries: Entry[] = [];
  const parents: { indent: number; key: string }[] = [];
  let comment: string[] = [];
  for (const line of text.split('\n')) {
    const said = /^ *# ?(.*)$/.exec(line)?.[1];
    const key = /^( *)([A-Za-z][A-Za-z0-9]*):/.exec(line);
    if (said !== undefined) {
      comment.push(said);
      continue;
    }
    if (key !== null) {
      const indent = (key[1] ?? '').length;
      while ((parents.at(-1)?.indent ?? -1) >= indent) parents.pop();
      parents.push({ indent, key: key[2] ?? '' });
      if (comment.length > 0) entries.push({ path: parents.map((parent) => parent.key), comment: comment.join(' ') });
    }
    comment = [];
  }
  return entries;
}

type Value = Readonly<Record<string, unknown>>;

function isGroup(value: unknown): value is Value {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length > 0;
}

function at(values: unknown, path: readonly string[]): unknown {
  return path.reduce((value, key) => (value as Value)[key], values);
}

/** Values that no comment explains: neither one of their own, nor one of a map that they are in. */
export function uncommentedValues(text: string): string[] {
  const commented = new Set(commentedValues(text).map(({ path }) => path.join('.')));
  const look = (value: unknown, path: readonly string[]): string[] => {
    if (path.length > 0 && commented.has(path.join('.'))) return [];
    if (!isGroup(value)) return [path.join('.')];
    return Object.entries(value).flatMap(([key, inner]) => look(inner, [...path, key]));
  };
  return look(parse(text), []);
}

function rows(text: string): string {
  const values: unknown = parse(text);
  return commentedValues(text)
    .map(({ path, comment }) => `| \`${path.join('.')}\` | \`${JSON.stringify(at(values, path))}\` | ${comment} |`)
    .join('\n');
}

/** The whole of the chart's README.md. */
export function chartReadme(): string {
  const text = readFileSync(`${CHART}values.yaml`, 'utf8');
  return `# The chart avocado

<!-- Generated from values.yaml by test/docs/make-pages.ts: do not edit by hand. -->

\`\`\`sh
helm install captions helm/avocado -f helm/avocado/examples/laptop.yaml
\`\`\`

It installs a Deployment of the captioning server and a Service, and what the values below switch on: workers for jobs
on a PostgreSQL, autoscaling, monitoring. The image is what
the Dockerfile at the top of the repository makes. How to run it: [deployment.md](../../.github/docs/deployment.md).

| example | for |
|---|---|
| [laptop.yaml](examples/laptop.yaml) | a laptop: the bundled model on two CPUs |
| [one-gpu.yaml](examples/one-gpu.yaml) | one GPU, a 7B model downloaded into a claim, keys |
| [fleet.yaml](examples/fleet.yaml) | 2 to 12 GPUs for requests, none to 8 for jobs: PostgreSQL, KEDA, Prometheus, Grafana, a gateway, a model from an image volume |

Unknown values are refused. \`settings\` takes the settings of [settings.md](../../.github/docs/settings.md).

| value | default | meaning |
|---|---|---|
${rows(text)}
`;
}

const JSON_TYPES = { number: 'number', string: 'string', boolean: 'boolean' } as const;

function schemaOf({ type, help }: Setting): object {
  const kind = type.json === 'list' ? { type: 'array', items: { type: 'string' } } : { type: JSON_TYPES[type.json] };
  return { ...kind, description: `${help} (${type.expected})` };
}

/** The whole of values.schema.json: as it is, with the server's settings as the code has them. */
export function chartSchema(): string {
  const schema = JSON.parse(readFileSync(`${CHART}values.schema.json`, 'utf8')) as {
    properties: { settings: { properties: Record<string, object> } };
  };
  schema.properties.settings.properties = Object.fromEntries(
    SETTING_NAMES.map(settingOf)
      .filter((setting) => !OWN.includes(fileName(setting)))
      .map((setting) => [fileName(setting), schemaOf(setting)]),
  );
  return `${JSON.stringify(schema, null, 2)}\n`;
}
