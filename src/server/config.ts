import { realpathSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { AvocadoError } from '../errors.ts';

/** What the HTTP door needs to know, frozen at start. */
export interface ServerConfig {
  readonly host: string;
  readonly port: number;
  readonly version: string;
  /** name → real path of a directory whose files may be asked for as media://NAME/path */
  readonly mediaRoots: ReadonlyMap<string, string>;
  readonly maxUploadBytes: number;
  /** most requests alive at a time; default: eight for every slot of the KV cache */
  readonly maxRequests?: number;
  /** an upload that sends nothing for so long is given up */
  readonly uploadIdleMs: number;
  /** where the directory of uploads is made */
  readonly temporaryDirectory: string;
  /** between two comments on a silent event stream; proxies close what is silent for a minute */
  readonly heartbeatMs: number;
  /** work is running but the engine took no step for so long: not alive */
  readonly stallMs: number;
  /** how long running requests may go on after a stop was asked for */
  readonly drainMs: number;
}

export type ServerSettings = Partial<Omit<ServerConfig, 'mediaRoots'>> & { readonly mediaRoots?: readonly string[] };

export const DEFAULT_MAX_UPLOAD_BYTES = 2 * 1024 ** 3;

const DEFAULTS = {
  host: '127.0.0.1',
  port: 8080,
  version: '0.0.0',
  maxUploadBytes: DEFAULT_MAX_UPLOAD_BYTES,
  uploadIdleMs: 60_000,
  heartbeatMs: 15_000,
  stallMs: 120_000,
  drainMs: 20_000,
};

/** @returns a sentence about what is wrong with one `NAME=DIR`, or its parts */
function parseMediaRoot(text: string): string | { readonly name: string; readonly directory: string } {
  const match = /^([A-Za-z0-9][A-Za-z0-9_-]{0,63})=(.+)$/.exec(text);
  const [, name, path] = match ?? [];
  if (name === undefined || path === undefined) return `--media-root ${text}: write it as NAME=DIR, NAME of letters, digits, _ and -.`;
  try {
    const directory = realpathSync(path);
    return statSync(directory).isDirectory() ? { name, directory } : `--media-root ${text}: ${path} is not a directory.`;
  } catch (error) {
    return `--media-root ${text}: ${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? String(error)}).`;
  }
}

/**
 * Settings with their defaults, media roots resolved.
 * @throws AvocadoError `bad_request` that tells all mistakes at once
 */
export function serverConfig(settings: ServerSettings): ServerConfig {
  const mistakes: string[] = [];
  const mediaRoots = new Map<string, string>();
  for (const text of settings.mediaRoots ?? []) {
    const root = parseMediaRoot(text);
    if (typeof root === 'string') mistakes.push(root);
    else if (mediaRoots.has(root.name)) mistakes.push(`--media-root ${text}: the name ${root.name} is given twice.`);
    else mediaRoots.set(root.name, root.directory);
  }
  if (mistakes.length > 0) throw new AvocadoError('bad_request', mistakes.join(' '), { param: 'media-root' });
  return Object.freeze({ ...DEFAULTS, temporaryDirectory: tmpdir(), ...settings, mediaRoots });
}
