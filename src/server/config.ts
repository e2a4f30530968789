import { tmpdir } from 'node:os';
import { AvocadoError } from '../base/errors.ts';
import type { IntakeConfig } from '../intake/intake-config.ts';
import type { ServingLimits } from '../admission/serve-captions.ts';
import { allowCidrsOf, apiKeysOf, mediaRootsOf, urlHostsOf, type KeySettings, type Mistakes } from './config-values.ts';

/** What the HTTP door needs to know, frozen at start. */
export interface ServerConfig extends IntakeConfig, ServingLimits {
  readonly host: string;
  readonly port: number;
  readonly version: string;
  /** who may ask; none = everybody */
  readonly apiKeys: readonly ApiKey[];
  /** requests a minute for each key, or each address where there are no keys; 0 = no limit */
  readonly rateLimitPerMinute: number;
  /** also export the handful of names that vLLM's dashboards and autoscalers read */
  readonly metricsCompat: 'none' | 'vllm';
  readonly logLevel: 'silent' | 'error' | 'warn' | 'info' | 'debug';
  /** put file names and captions into the log */
  readonly logContent: boolean;
  /** between two comments on a silent event stream; proxies close what is silent for a minute */
  readonly heartbeatMs: number;
  /** work is running but the engine took no step for so long: not alive */
  readonly stallMs: number;
  /** how long running requests may go on after a stop was asked for */
  readonly drainMs: number;
}

/** Its name appears in logs; of the key itself only the SHA-256 is kept. */
export interface ApiKey {
  readonly name: string;
  readonly sha256: string;
}

/** Settings as a person gives them: directories, hosts and keys still to be read. */
export type ServerSettings = Partial<Omit<ServerConfig, 'mediaRoots' | 'apiKeys'>> &
  KeySettings & { readonly mediaRoots?: readonly string[] };

export const DEFAULT_MAX_UPLOAD_BYTES = 2 * 1024 ** 3;

const DEFAULTS = {
  host: '127.0.0.1',
  port: 8080,
  version: '0.0.0',
  maxUploadBytes: DEFAULT_MAX_UPLOAD_BYTES,
  maxQueueSeconds: 600,
  prepareAhead: 2,
  maxTimeoutSeconds: 3600,
  maxTemporaryBytes: 8 * 1024 ** 3,
  urlHosts: 'public' as const,
  allowCidrs: [],
  fetchTimeoutMs: 120_000,
  apiKeys: [],
  rateLimitPerMinute: 0,
  metricsCompat: 'none' as const,
  logLevel: 'warn' as const,
  logContent: false,
  uploadIdleMs: 60_000,
  heartbeatMs: 15_000,
  stallMs: 120_000,
  drainMs: 20_000,
};

/**
 * Settings with their defaults; media roots resolved, keys hashed.
 * @throws AvocadoError `bad_request` that tells all mistakes at once
 */
export function serverConfig({ apiKeys, apiKeysFile, apiKeysText, ...settings }: ServerSettings): ServerConfig {
  const mistakes: Mistakes = [];
  const checked = {
    mediaRoots: mediaRootsOf(settings.mediaRoots ?? [], mistakes),
    urlHosts: urlHostsOf(settings.urlHosts ?? DEFAULTS.urlHosts, mistakes),
    allowCidrs: allowCidrsOf(settings.allowCidrs ?? DEFAULTS.allowCidrs, mistakes),
    apiKeys: apiKeysOf({ ...(apiKeys === undefined ? {} : { apiKeys }), apiKeysFile, apiKeysText }, mistakes),
  };
  if (mistakes.length > 0) throw new AvocadoError('bad_request', mistakes.join(' '));
  return Object.freeze({ ...DEFAULTS, temporaryDirectory: tmpdir(), ...settings, ...checked });
}

/** Only this machine can reach such an address. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}
