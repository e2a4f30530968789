// A cache of exports, so that a checkpoint directory can be served without an export step. One entry per checkpoint and
// precision, for int8 and int4 also per kind of device; when the checkpoint or our version changes there is a new one,
// and the older goes when nobody uses it.
import { hash } from 'node:crypto';
import { readdir, rm, stat, utimes } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { nonEmptyVariable } from '../../base/env.ts';
import { AvocadoError, directoryUnwritable } from '../../base/errors.ts';
import type { Device, Precision } from '../../settings/engine-settings.ts';
import { openCheckpoint, type Checkpoint } from '../checkpoint/checkpoint.ts';
import type { ModelConfig } from '../checkpoint/config-types.ts';
import { readModelConfig } from '../checkpoint/config.ts';
import type { DecoderGraphOptions } from '../graphs/decoder.ts';
import { exportCheckpoint, parsePrecision } from './export.ts';
import { EXPORTER_VERSION, isExport, openManifest, sourceFilesOf, type Manifest } from './manifest.ts';
import { isQuantised, type ExportOptions } from './quantised-weights.ts';

interface CacheOptions extends ExportOptions {
  /** default: AVOCADO_CACHE, else XDG_CACHE_HOME/avocado-captioner, else ~/.cache/avocado-captioner */
  readonly cacheDir?: string | undefined;
  /** that will run the export; default: cpu */
  readonly device?: Device['type'] | undefined;
  readonly decoder?: DecoderGraphOptions | undefined;
  /** of the checkpoint, when it was read already */
  readonly config?: ModelConfig | undefined;
}

/**
 * Two versions of this program may share a cache, or a checkpoint may change while a server opens it: an entry that was
 * opened within this time is not removed.
 */
const UNUSED_MS = 24 * 3600 * 1000;

const CACHE_ADVICE = 'Name another directory with --cache-dir.';

function defaultCache(): string {
  const userCache = nonEmptyVariable('XDG_CACHE_HOME') ?? join(homedir(), '.cache');
  return nonEmptyVariable('AVOCADO_CACHE') ?? join(userCache, 'avocado-captioner');
}

function digest(...parts: readonly unknown[]): string {
  return hash('sha256', JSON.stringify(parts)).slice(0, 16);
}

/**
 * All entries of one checkpoint and precision begin with `family`. The rest is the checkpoint's state and our version.
 */
async function entryName(
  checkpoint: Checkpoint,
  precision: Precision,
  { device, decoder }: Pick<CacheOptions, 'device' | 'decoder'>,
): Promise<{ readonly family: string; readonly name: string }> {
  const kind = isQuantised(precision) && device === 'cuda' ? `cuda-${precision}` : precision;
  const graph = decoder === undefined ? '' : `-${digest(decoder)}`;
  const family = `${digest(checkpoint.directory)}-${kind}${graph}-`;
  return { family, name: family + digest(await sourceFilesOf(checkpoint), EXPORTER_VERSION, await codeStamp()) };
}

/** Running as TypeScript means development: then the modification times of the graph code are part of the version. */
async function codeStamp(): Promise<string> {
  if (!import.meta.url.endsWith('.ts')) return '';
  const folder = new URL('../graphs/', import.meta.url);
  const files = await readdir(folder);
  return digest(await Promise.all(files.map(async (file) => (await stat(new URL(file, folder))).mtimeMs)));
}

/** @throws AvocadoError `precision_unsupported` when an export has another precision than the wanted one */
export function checkExportPrecision(manifest: Manifest, precision: Precision | undefined): void {
  if (precision === undefined || manifest.precision === precision) return;
  const advice = `leave the precision out, or give the checkpoint ${manifest.checkpoint.directory}`;
  throw new AvocadoError(
    'precision_unsupported',
    `${manifest.directory} is an export in ${manifest.precision}, not ${precision}: ${advice}.`,
    { param: 'precision' },
  );
}

/** @throws AvocadoError `precision_unsupported` when an export's quantised weights are laid out for another device */
export function checkExportDevice(manifest: Manifest, device: Device['type']): void {
  const { precision, device: laidOutFor = 'cpu', directory, checkpoint } = manifest;
  if (!isQuantised(precision) || laidOutFor === device) return;
  const command = `avocado export ${checkpoint.directory} --precision ${precision} --device ${device} --out DIR`;
  throw new AvocadoError(
    'precision_unsupported',
    `${directory} is an ${precision} export for ${laidOutFor}, whose quantised weights do not run on ${device}: ` +
      `give the checkpoint ${checkpoint.directory}, or export again: ${command}`,
    { param: 'precision' },
  );
}

async function openCached(directory: string): Promise<Manifest | undefined> {
  try {
    return await openManifest(directory);
  } catch (error) {
    const repairable =
      error instanceof AvocadoError && (error.code === 'export_incomplete' || error.code === 'export_stale');
    const { code } = error as NodeJS.ErrnoException;
    if (repairable || code === 'ENOENT') return undefined;
    if (code === 'ENOTDIR') throw directoryUnwritable(dirname(directory), error, CACHE_ADVICE);
    throw error;
  }
}

/**
 * The export to run: `modelDir` itself when it is one, otherwise the cached export of that checkpoint. Builds the
 * cached one when it is missing, damaged or stale.
 * @param precision undefined = the precision of the export; required for a checkpoint
 * @throws AvocadoError as exportModel and openManifest; `precision_unsupported` when the export has another precision
 * or is for another device
 */
export async function ensureExport(
  modelDir: string,
  precision: Precision | undefined,
  options: CacheOptions = {},
): Promise<Manifest> {
  if (await isExport(modelDir)) {
    const manifest = await openManifest(modelDir);
    checkExportPrecision(manifest, precision);
    if (options.device !== undefined) checkExportDevice(manifest, options.device);
    return manifest;
  }
  if (precision === undefined) throw new Error('A checkpoint needs a precision. This is a bug.');
  parsePrecision(precision);
  const checkpoint = await openCheckpoint(modelDir);
  const cache = options.cacheDir ?? defaultCache();
  const { family, name } = await entryName(checkpoint, precision, options);
  const entry = join(cache, name);
  const cached = await openCached(entry);
  if (cached !== undefined) {
    await markUsed(entry);
    return cached;
  }
  const config = options.config ?? (await readModelConfig(modelDir));
  // Another process may finish first and already use its entry: keep that one.
  const existing = async (target: string): Promise<'replace' | 'keep'> =>
    (await openCached(target)) === undefined ? 'replace' : 'keep';
  const manifest = await exportCheckpoint({ checkpoint, config }, precision, entry, { ...options, existing });
  const others = (await readdir(cache)).filter((other) => other.startsWith(family) && other !== name);
  for (const other of others) await removeUnused(join(cache, other));
  return manifest;
}

/** The time of an entry's directory is that of its last use. */
async function markUsed(entry: string): Promise<void> {
  const now = new Date();
  await utimes(entry, now, now).catch(() => undefined); // of a cache that is read-only
}

async function removeUnused(entry: string): Promise<void> {
  const used = await stat(entry).catch(() => undefined); // another process may have removed it
  if (used === undefined || Date.now() - used.mtimeMs < UNUSED_MS) return;
  await rm(entry, { recursive: true, force: true });
}
