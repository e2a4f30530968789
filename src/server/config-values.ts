// Settings that a person writes as text, and what may be wrong with them; mistakes are sentences that begin with the flag.
import { realpathSync, statSync } from 'node:fs';
import { addressPolicy } from '../intake/address-policy.ts';
import { hostPolicy } from '../intake/host-policy.ts';
import { keysOfEnvironment, keysOfFile } from './guards/api-keys.ts';
import type { ApiKey, ServerConfig } from './config.ts';

/** Where mistakes are put, so that all of them can be told at once. */
export type Mistakes = string[];

/** @returns a sentence about what is wrong with one `NAME=DIR`, or its parts */
function parseMediaRoot(text: string): string | { readonly name: string; readonly directory: string } {
  const match = /^([A-Za-z0-9][A-Za-z0-9_-]{0,63})=(.+)$/.exec(text);
  const [, name, path] = match ?? [];
  if (name === undefined || path === undefined)
    return `--media-root ${text}: write it as NAME=DIR, NAME of letters, digits, _ and -.`;
  try {
    const directory = realpathSync(path);
    return statSync(directory).isDirectory()
      ? { name, directory }
      : `--media-root ${text}: ${path} is not a directory.`;
  } catch (error) {
    return `--media-root ${text}: ${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? String(error)}).`;
  }
}

/** Name → real path of each `NAME=DIR`. */
export function mediaRootsOf(texts: readonly string[], mistakes: Mistakes): ServerConfig['mediaRoots'] {
  const roots = new Map<string, string>();
  for (const text of texts) {
    const root = parseMediaRoot(text);
    if (typeof root === 'string') mistakes.push(root);
    else if (roots.has(root.name)) mistakes.push(`--media-root ${text}: the name ${root.name} is given twice.`);
    else roots.set(root.name, root.directory);
  }
  return roots;
}

/** Whoever reads a value tells what is wrong with it. */
function check(flag: string, read: () => unknown, mistakes: Mistakes): void {
  try {
    read();
  } catch (error) {
    mistakes.push(`${flag}: ${(error as Error).message}`);
  }
}

/** The words `off` and `public` alone, or hosts. */
export function urlHostsOf(words: ServerConfig['urlHosts'], mistakes: Mistakes): ServerConfig['urlHosts'] {
  if (typeof words === 'string') return words;
  const [word] = words;
  if (words.length === 1 && (word === 'off' || word === 'public')) return word;
  for (const host of words) {
    if (host === 'off' || host === 'public')
      mistakes.push(`--url-host ${host}: it stands alone, or leave it out and name hosts.`);
    else check(`--url-host ${host}`, () => hostPolicy([host]), mistakes);
  }
  return words;
}

export function allowCidrsOf(ranges: readonly string[], mistakes: Mistakes): readonly string[] {
  for (const range of ranges) check(`--allow-cidr ${range}`, () => addressPolicy([range]), mistakes);
  return ranges;
}

/** Where keys may come from; all of them together. */
export interface KeySettings {
  readonly apiKeys?: readonly ApiKey[];
  readonly apiKeysFile?: string | undefined;
  /** value of AVOCADO_API_KEYS */
  readonly apiKeysText?: string | undefined;
}

export function apiKeysOf(
  { apiKeys = [], apiKeysFile, apiKeysText }: KeySettings,
  mistakes: Mistakes,
): readonly ApiKey[] {
  const sources = [
    apiKeysFile === undefined ? [] : [keysOfFile(apiKeysFile)],
    apiKeysText === undefined ? [] : [keysOfEnvironment(apiKeysText)],
  ].flat();
  for (const source of sources) mistakes.push(...source.mistakes);
  const keys = [...apiKeys, ...sources.flatMap((source) => source.keys)];
  const names = keys.map(({ name }) => name);
  for (const name of new Set(names.filter((other, index) => names.indexOf(other) < index))) {
    if (!mistakes.some((mistake) => mistake.includes(`the name ${name} is given twice`)))
      mistakes.push(`The key name ${name} is in the file and in AVOCADO_API_KEYS: each name is given once.`);
  }
  return keys;
}
