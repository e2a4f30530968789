// Exports made on the way, so that a checkpoint directory can be served as it is. One entry per checkpoint and
// precision: a changed checkpoint replaces its own entry.
import { createHash } from 'node:crypto';
import { readdir, realpath, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { nonEmptyVariable } from '../../base/env.ts';
import { AvocadoError } from '../../base/errors.ts';
import { openCheckpoint, type Checkpoint } from '../checkpoint/checkpoint.ts';
import { exportModel, parsePrecision } from './export.ts';
import {
  EXPORTER_VERSION,
  GRAPH_FILES,
  MANIFEST_FILE,
  openManifest,
  sourceFilesOf,
  type Manifest,
} from './manifest.ts';
import type { ExportOptions } from './quantise-checkpoint.ts';
import type { Precision } from '../../settings/engine-settings.ts';

export interface CacheOptions extends ExportOptions {
  /** default: AVOCADO_CACHE, else XDG_CACHE_HOME/avocado-captioner, else ~/.cache/avocado-captioner */
  readonly cacheDir?: string | undefined;
}

function defaultCache(): string {
  const userCache = nonEmptyVariable('XDG_CACHE_HOME') ?? join(homedir(), '.cache');
  return nonEmptyVariable('AVOCADO_CACHE') ?? join(userCache, 'avocado-captioner');
}

function digest(...parts: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16);
}

/** `<checkpoint>-<precision>-` names all entries of one checkpoint and precision, the rest its state and our version. */
async function entryName(
  checkpoint: Checkpoint,
  precision: Precision,
): Promise<{ readonly family: string; readonly name: string }> {
  const family = `${digest(checkpoint.directory)}-${precision}-`;
  return { family, name: family + digest(await sourceFilesOf(checkpoint), EXPORTER_VERSION, await codeStamp()) };
}

/** While this code runs as TypeScript it is being worked on: its own text then counts as version. */
async function codeStamp(): Promise<string> {
  if (!import.meta.url.endsWith('.ts')) return '';
  const times = ['../graphs/', '../graphs/onnx/'].map(async (name) => {
    const folder = new URL(name, import.meta.url);
    const files = await readdir(folder);
    return Promise.all(files.map(async (file) => (await stat(new URL(file, folder))).mtimeMs));
  });
  return digest(await Promise.all(times));
}

async function hasFile(directory: string, name: string): Promise<boolean> {
  return stat(join(directory, name)).then(
    () => true,
    () => false,
  );
}

/** True for a directory that an export was written to, finished or not. */
export async function isExport(directory: string): Promise<boolean> {
  return (await hasFile(directory, MANIFEST_FILE)) || (await hasFile(directory, GRAPH_FILES.decoder));
}

async function openExport(directory: string, precision: Precision | undefined): Promise<Manifest> {
  const manifest = await openManifest(await realpath(directory));
  if (precision !== undefined && manifest.precision !== precision) {
    const advice = `leave the precision out, or give the checkpoint ${manifest.checkpoint.directory}`;
    throw new AvocadoError(
      'precision_unsupported',
      `${directory} is an export in ${manifest.precision}, not ${precision}: ${advice}.`,
      { param: 'precision' },
    );
  }
  return manifest;
}

async function openCached(directory: string): Promise<Manifest | undefined> {
  try {
    return await openManifest(directory);
  } catch (error) {
    const repairable =
      error instanceof AvocadoError && (error.code === 'export_incomplete' || error.code === 'export_stale');
    if (repairable || (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * The export to run: `modelDir` itself when it is one, else the cached one of that checkpoint, built when it is missing
 * or no longer right.
 * @param precision undefined = what the export has; a checkpoint needs it
 * @throws AvocadoError as exportModel and openManifest; `precision_unsupported` when the export has another one
 */
export async function ensureExport(
  modelDir: string,
  precision: Precision | undefined,
  options: CacheOptions = {},
): Promise<Manifest> {
  if (await isExport(modelDir)) return openExport(modelDir, precision);
  if (precision === undefined) throw new Error('A checkpoint needs a precision. This is a bug.');
  parsePrecision(precision);
  const checkpoint = await openCheckpoint(modelDir);
  const cache = options.cacheDir ?? defaultCache();
  const { family, name } = await entryName(checkpoint, precision);
  const entry = join(cache, name);
  const cached = await openCached(entry);
  if (cached !== undefined) return cached;
  // Another process may finish first, and already be loading: then its entry stays.
  const existing = async (target: string): Promise<'replace' | 'keep'> =>
    (await openCached(target)) === undefined ? 'replace' : 'keep';
  const manifest = await exportModel(modelDir, precision, entry, { ...options, existing });
  for (const other of await readdir(cache)) {
    if (other.startsWith(family) && other !== name) await rm(join(cache, other), { recursive: true, force: true });
  }
  return manifest;
}
