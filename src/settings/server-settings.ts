// The settings of `avocado serve` besides those of the engine: its address, where media may come from, who may ask,
// what is logged.
import { realpathSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { AvocadoError } from '../base/errors.ts';
import { keysOfEnvironment, keysOfFile, type ApiKey } from './api-keys.ts';
import { jobMistakes, JOB_ROWS } from './job-settings.ts';
import { mergeMistakes, MERGE_ROWS } from './merge-settings.ts';
import { readTlsFiles, TLS_ROWS, type TlsFiles } from './tls-files.ts';
import {
  boolean,
  choice,
  inSeconds,
  integer,
  list,
  positiveNumber,
  text,
  urlPath,
  withDefaults,
  type GivenValues,
  type SettingTable,
  type SettingValues,
} from './setting.ts';

const GIB = 1024 ** 3;
/** Names of ranges that proxy-addr, which Fastify asks, knows beside addresses. */
const PROXY_RANGES = ['loopback', 'linklocal', 'uniquelocal'];

export const SERVER_TABLE = {
  host: {
    group: 'server',
    flag: 'host',
    metavar: 'address',
    type: text,
    default: '127.0.0.1',
    help: 'address to listen on',
  },
  port: {
    group: 'server',
    flag: 'port',
    metavar: 'port',
    type: integer(0, 65_535),
    default: 8080,
    help: 'port to listen on, 0 = any',
  },
  trustProxy: {
    group: 'server',
    flag: 'trust-proxy',
    metavar: 'range',
    type: list,
    default: [],
    help:
      'proxies whose X-Forwarded-For and X-Forwarded-Host are believed: an address, a range such as 10.0.0.0/8, ' +
      'loopback or uniquelocal; repeatable',
  },
  basePath: {
    group: 'server',
    flag: 'base-path',
    metavar: 'path',
    type: urlPath,
    default: '',
    help: 'path below which a proxy shows this server, such as /captions; every route answers with it and without',
  },
  ...TLS_ROWS,
  stallMs: {
    group: 'server',
    flag: 'stall-seconds',
    metavar: 's',
    type: inSeconds(positiveNumber),
    default: 120_000,
    help: 'work without progress for so long counts as a hang: the engine is restarted',
  },
  drainMs: {
    group: 'server',
    flag: 'drain-seconds',
    metavar: 's',
    type: inSeconds(integer(0)),
    default: 20_000,
    help: 'how long running requests may go on after SIGTERM or Ctrl-C',
  },
  mediaRoots: {
    group: 'media',
    flag: 'media-root',
    metavar: 'name=dir',
    type: list,
    default: [],
    help: 'requests may name files of DIR as media://NAME/path; repeatable',
  },
  urlHosts: {
    group: 'media',
    flag: 'url-host',
    metavar: 'host',
    type: list,
    default: ['public'],
    help: 'fetch media from this host only (host, *.host, host:port), or: off, public; repeatable',
  },
  allowCidrs: {
    group: 'media',
    flag: 'allow-cidr',
    metavar: 'range',
    type: list,
    default: [],
    help: 'private addresses that media may be fetched from, such as 10.1.0.0/16; repeatable',
  },
  fetchTimeoutMs: {
    group: 'media',
    flag: 'fetch-timeout',
    metavar: 's',
    type: inSeconds(positiveNumber),
    default: 120_000,
    help: 'longest download, in seconds',
  },
  maxUploadBytes: {
    group: 'media',
    flag: 'max-upload-bytes',
    metavar: 'n',
    type: integer(1),
    default: 2 * GIB,
    help: 'largest media file',
  },
  maxTemporaryBytes: {
    group: 'media',
    flag: 'max-temp-bytes',
    metavar: 'n',
    type: integer(1),
    default: 8 * GIB,
    help: 'most bytes of media on disk, all requests together',
  },
  maxMemoryBytes: {
    group: 'media',
    flag: 'max-memory-bytes',
    metavar: 'n',
    type: integer(1),
    default: 256 * 1024 ** 2,
    help: 'most bytes of request bodies in memory, all requests together; files are never in memory',
  },
  maxRequests: {
    group: 'admission',
    flag: 'max-requests',
    metavar: 'n',
    type: integer(1),
    default: undefined,
    defaultText: '8 for each slot',
    help: 'most requests admitted at a time; of one key or address seven eighths, while others ask too',
  },
  maxReceiving: {
    group: 'admission',
    flag: 'max-receiving',
    metavar: 'n',
    type: integer(2),
    default: 256,
    help: 'most requests whose bodies arrive at the same time; half of them from one key or address',
  },
  maxConnections: {
    group: 'admission',
    flag: 'max-connections',
    metavar: 'n',
    type: integer(1),
    default: 1024,
    help: 'most open connections',
  },
  idleMs: {
    group: 'admission',
    flag: 'idle-seconds',
    metavar: 's',
    type: inSeconds(positiveNumber),
    default: 30_000,
    help: 'a client that sends nothing of its request, or reads nothing of its response, is disconnected after so long',
  },
  maxQueueSeconds: {
    group: 'admission',
    flag: 'max-queue-seconds',
    metavar: 's',
    type: positiveNumber,
    default: 600,
    help: 'most estimated work admitted at a time, in seconds',
  },
  maxTimeoutSeconds: {
    group: 'admission',
    flag: 'max-timeout',
    metavar: 's',
    type: positiveNumber,
    default: 3600,
    help: 'longest time a request may take, in seconds',
  },
  apiKeysFile: {
    group: 'admission',
    flag: 'api-keys',
    metavar: 'file',
    type: text,
    default: undefined,
    defaultText: 'no key is needed',
    help: 'keys that clients must send: lines NAME:KEY or NAME:sha256:HEX; the variable AVOCADO_API_KEYS adds more',
    variable: 'AVOCADO_API_KEYS_FILE',
  },
  allowHosts: {
    group: 'admission',
    flag: 'allow-host',
    metavar: 'name',
    type: list,
    default: [],
    help: 'without keys, a name under which clients may ask, beside IP addresses and localhost; repeatable',
  },
  corsOrigins: {
    group: 'admission',
    flag: 'cors-origin',
    metavar: 'origin',
    type: list,
    default: [],
    help: 'pages of this origin may use the server from a browser, such as https://example.org; * = any; repeatable',
  },
  rateLimitPerMinute: {
    group: 'admission',
    flag: 'rate-limit',
    metavar: 'n',
    type: integer(0),
    default: 0,
    help: 'requests a minute for each key, or for each address when no key is needed; 0 = no limit',
  },
  ...MERGE_ROWS,
  ...JOB_ROWS,
  logLevel: {
    group: 'log',
    flag: 'log-level',
    metavar: 'level',
    type: choice(['silent', 'error', 'warn', 'info', 'debug']),
    default: 'warn',
    help: 'how much is logged to stderr, as JSON lines: silent, error, warn, info or debug',
  },
  logContent: {
    group: 'log',
    flag: 'log-content',
    type: boolean,
    default: false,
    help: 'put file names, prompts and captions into the log',
  },
  metricsCompat: {
    group: 'log',
    flag: 'metrics-compat',
    metavar: 'names',
    type: choice(['none', 'vllm']),
    default: 'none',
    help: 'vllm: /metrics also has the names that vLLM’s dashboards read',
  },
} as const satisfies SettingTable;

type ServerValues = SettingValues<typeof SERVER_TABLE>;
/** Names of files, directories and hosts, which are read. */
type SourceNames = 'mediaRoots' | 'urlHosts' | 'apiKeysFile' | 'tlsCertFile' | 'tlsKeyFile';

/** Values that are no setting of a person's: constants here, and what a test changes. */
interface FixedValues {
  readonly version: string;
  /** where the server makes its own temporary directory */
  readonly temporaryDirectory: string;
  /** between two comments on a silent event stream; proxies close a connection that is silent for a minute */
  readonly heartbeatMs: number;
  /** requests handed to the engine beyond its slots, so that their media are ready when a slot is free */
  readonly prepareAhead: number;
  /** how long a batch may take before what is left of it expires */
  readonly batchWindowSeconds: number;
}

/** What the HTTP server needs to know, frozen at start. Each field is explained by its row of the table. */
export interface ServerConfig extends FixedValues, Omit<ServerValues, SourceNames> {
  /** name → real path of a directory whose files may be named as media://NAME/path */
  readonly mediaRoots: ReadonlyMap<string, string>;
  /** off: no URL is fetched; public: any public address; otherwise only these hosts */
  readonly urlHosts: 'off' | 'public' | readonly string[];
  /** keys that clients must send; none = no key is needed */
  readonly apiKeys: readonly ApiKey[];
  /** undefined: plain HTTP */
  readonly tls: TlsFiles | undefined;
}

/** Checked values and secrets, as they were given: directories, hosts and keys still to be read. */
export type ServerSettings = GivenValues<typeof SERVER_TABLE> &
  Partial<FixedValues> & {
    readonly apiKeys?: readonly ApiKey[];
    /** value of AVOCADO_API_KEYS */
    readonly apiKeysText?: string | undefined;
  };

/** Throw for an entry that the fetcher of media will not understand. Passed in, since that code lies above this. */
export interface EntryChecks {
  readonly urlHost: (host: string) => unknown;
  readonly allowCidr: (range: string) => unknown;
}

const NO_CHECKS: EntryChecks = { urlHost: () => undefined, allowCidr: () => undefined };

/** Sentences that begin with the flag or variable at fault, gathered so that all are reported at once. */
type Mistakes = string[];

/**
 * Settings with their defaults; media roots resolved, keys hashed.
 * @throws AvocadoError `bad_request` that names all mistakes at once
 */
export function serverConfig(settings: ServerSettings, checks: EntryChecks = NO_CHECKS): ServerConfig {
  const mistakes: Mistakes = [];
  const config = resolveServerConfig(settings, checks, mistakes);
  if (mistakes.length > 0) throw new AvocadoError('bad_request', mistakes.join(' '));
  return config;
}

/** As `serverConfig`, with the mistakes put to those of the caller. */
export function resolveServerConfig(settings: ServerSettings, checks: EntryChecks, mistakes: Mistakes): ServerConfig {
  const { mediaRoots, urlHosts, apiKeysFile, tlsCertFile, tlsKeyFile, ...values } = withDefaults(
    SERVER_TABLE,
    settings,
  );
  const { version = '0.0.0', heartbeatMs = 15_000, prepareAhead = 2, batchWindowSeconds = 24 * 3600 } = settings;
  const { temporaryDirectory = tmpdir(), apiKeys = [], apiKeysText } = settings;
  mistakes.push(...jobMistakes(values), ...mergeMistakes(values));
  for (const range of values.allowCidrs) check(`--allow-cidr ${range}`, () => checks.allowCidr(range), mistakes);
  for (const range of values.trustProxy.filter((word) => !PROXY_RANGES.includes(word))) {
    const bits = range.includes(':') ? 128 : 32;
    check(`--trust-proxy ${range}`, () => checks.allowCidr(range.includes('/') ? range : `${range}/${bits}`), mistakes);
  }
  return Object.freeze({
    ...{ ...values, version, heartbeatMs, prepareAhead, batchWindowSeconds, temporaryDirectory },
    // A larger file can never fit. Its announced length shows that even while other files use the room.
    maxUploadBytes: Math.min(values.maxUploadBytes, values.maxTemporaryBytes),
    mediaRoots: mediaRootsOf(mediaRoots, mistakes),
    urlHosts: urlHostsOf(urlHosts, checks, mistakes),
    apiKeys: apiKeysOf(apiKeys, apiKeysFile, apiKeysText, mistakes),
    tls: readTlsFiles(tlsCertFile, tlsKeyFile, mistakes),
  });
}

/** Whether only this machine can reach such an address. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** @returns a sentence about what is wrong with one `NAME=DIR`, or its parts */
function parseMediaRoot(entry: string): string | { readonly name: string; readonly directory: string } {
  const match = /^([A-Za-z0-9][A-Za-z0-9_-]{0,63})=(.+)$/.exec(entry);
  const [, name, path] = match ?? [];
  if (name === undefined || path === undefined)
    return `--media-root ${entry}: write it as NAME=DIR, NAME of letters, digits, _ and -.`;
  try {
    const directory = realpathSync(path);
    return statSync(directory).isDirectory()
      ? { name, directory }
      : `--media-root ${entry}: ${path} is not a directory.`;
  } catch (error) {
    return `--media-root ${entry}: ${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? String(error)}).`;
  }
}

function mediaRootsOf(entries: readonly string[], mistakes: Mistakes): ServerConfig['mediaRoots'] {
  const roots = new Map<string, string>();
  for (const entry of entries) {
    const root = parseMediaRoot(entry);
    if (typeof root === 'string') mistakes.push(root);
    else if (roots.has(root.name)) mistakes.push(`--media-root ${entry}: the name ${root.name} is given twice.`);
    else roots.set(root.name, root.directory);
  }
  return roots;
}

function check(place: string, read: () => unknown, mistakes: Mistakes): void {
  try {
    read();
  } catch (error) {
    mistakes.push(`${place}: ${(error as Error).message}`);
  }
}

function urlHostsOf(words: readonly string[], checks: EntryChecks, mistakes: Mistakes): ServerConfig['urlHosts'] {
  const [word] = words;
  if (words.length === 1 && (word === 'off' || word === 'public')) return word;
  for (const host of words) {
    if (host === 'off' || host === 'public')
      mistakes.push(`--url-host ${host}: it stands alone, or leave it out and name hosts.`);
    else check(`--url-host ${host}`, () => checks.urlHost(host), mistakes);
  }
  return words;
}

function apiKeysOf(
  given: readonly ApiKey[],
  file: string | undefined,
  variable: string | undefined,
  mistakes: Mistakes,
): readonly ApiKey[] {
  const sources = [
    ...(file === undefined ? [] : [keysOfFile(file)]),
    ...(variable === undefined ? [] : [keysOfEnvironment(variable)]),
  ];
  for (const source of sources) mistakes.push(...source.mistakes);
  const keys = [...given, ...sources.flatMap((source) => source.keys)];
  const names = keys.map(({ name }) => name);
  for (const name of new Set(names.filter((other, index) => names.indexOf(other) < index))) {
    if (!mistakes.some((mistake) => mistake.includes(`the name ${name} is given twice`)))
      mistakes.push(`The key name ${name} is in the file and in AVOCADO_API_KEYS: each name is given once.`);
  }
  return keys;
}
