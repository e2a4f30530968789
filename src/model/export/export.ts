// Exports a checkpoint as three graphs and, for int8 and int4, one file of quantised weights. Everything that can be
// refused is refused before the first byte is written, and the export directory appears in one step.
import { hash } from 'node:crypto';
import { open, readdir, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AvocadoError } from '../../base/errors.ts';
import { PRECISIONS, type Device, type Precision } from '../../settings/engine-settings.ts';
import { openCheckpoint, type Checkpoint } from '../checkpoint/checkpoint.ts';
import type { ModelConfig } from '../checkpoint/config-types.ts';
import { readModelConfig } from '../checkpoint/config.ts';
import { buildAudioGraph } from '../graphs/audio.ts';
import { buildDecoderGraph, type DecoderGraphOptions } from '../graphs/decoder.ts';
import { buildVisionGraph } from '../graphs/vision.ts';
import {
  EXPORTER_VERSION,
  GRAPH_FILES,
  MANIFEST_FILE,
  readManifest,
  sourceFilesOf,
  type Manifest,
} from './manifest.ts';
import {
  graphPrecision,
  isQuantised,
  planQuantisedWeights,
  WEIGHTS_FILE,
  writeQuantisedWeights,
  type ExportOptions,
  type QuantisedWeights,
} from './quantised-weights.ts';
import { realPathOfPlanned, stageDirectory } from './staged-directory.ts';

interface OutputOptions extends ExportOptions {
  /** that will run the export: quantised weights are laid out for it; default: cpu */
  readonly device?: Device['type'] | undefined;
  readonly decoder?: DecoderGraphOptions | undefined;
  /** what to do with a directory that exists already; default: replace our own exports, refuse all else */
  readonly existing?: ((target: string) => Promise<'replace' | 'keep'>) | undefined;
}

/** Space for the manifest and the file system's metadata. */
const SPARE_BYTES = 2 ** 20;

/** A checkpoint whose config and headers have been read. */
interface OpenedCheckpoint {
  readonly config: ModelConfig;
  readonly checkpoint: Checkpoint;
}

interface Plan {
  readonly checkpoint: Checkpoint;
  readonly precision: Precision;
  /** as in the manifest */
  readonly device: 'cuda' | undefined;
  /** real path of the export directory to be */
  readonly target: string;
  readonly quantised: QuantisedWeights | undefined;
  readonly graphs: Readonly<Record<string, Uint8Array<ArrayBuffer>>>;
}

/** @throws AvocadoError `precision_unsupported`, listing the precisions that exist */
export function parsePrecision(text: string): Precision {
  const precision = PRECISIONS.find((known) => known === text);
  if (precision === undefined) {
    throw new AvocadoError(
      'precision_unsupported',
      `There is no precision ${JSON.stringify(text)}: choose one of ${PRECISIONS.join(', ')}.`,
      { param: 'precision' },
    );
  }
  return precision;
}

async function makePlan(
  opened: OpenedCheckpoint,
  precision: Precision,
  { device = 'cpu', decoder }: Pick<OutputOptions, 'device' | 'decoder'>,
  outDir: string,
): Promise<Plan> {
  const { config, checkpoint } = opened;
  const target = await realPathOfPlanned(outDir);
  const quantised = isQuantised(precision) ? planQuantisedWeights(opened, precision, device, target) : undefined;
  const weights = quantised ?? checkpoint;
  const numbers = graphPrecision(precision, device);
  const graphs = {
    [GRAPH_FILES.vision]: buildVisionGraph(config, weights, numbers).bytes,
    [GRAPH_FILES.audio]: buildAudioGraph(config, weights, numbers).bytes,
    [GRAPH_FILES.decoder]: buildDecoderGraph(config, weights, numbers, decoder).bytes,
  };
  const laidOutFor = quantised !== undefined && device === 'cuda' ? device : undefined;
  return { checkpoint, precision, device: laidOutFor, target, quantised, graphs };
}

async function checkSpace(parent: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(parent);
  if (bavail * bsize >= bytes) return;
  const megabytes = (count: number): string => `${Math.ceil(count / 1e6)} MB`;
  const have = `the disk of ${parent} has ${megabytes(bavail * bsize)} left`;
  throw new AvocadoError(
    'export_incomplete',
    `The export needs ${megabytes(bytes)}, but ${have}. Free space there, or give another directory.`,
  );
}

async function writeSynced(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'wx');
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r+');
  await file.sync().finally(() => file.close());
}

/** Writes everything into `staged`, the manifest last. */
async function fill(plan: Plan, staged: string, options: ExportOptions): Promise<Manifest> {
  const graphBytes = Object.values(plan.graphs).reduce((sum, { length }) => sum + length, 0);
  await checkSpace(dirname(staged), SPARE_BYTES + graphBytes + (plan.quantised?.bytes ?? 0));
  const sources = await sourceFilesOf(plan.checkpoint);
  const files: Manifest['files'] = [];
  if (plan.quantised !== undefined) {
    const path = join(staged, WEIGHTS_FILE);
    await writeQuantisedWeights(plan.quantised, path, options);
    await syncFile(path);
    files.push({ name: WEIGHTS_FILE, bytes: plan.quantised.bytes });
  }
  for (const [name, bytes] of Object.entries(plan.graphs)) {
    await writeSynced(join(staged, name), bytes);
    files.push({ name, bytes: bytes.length, sha256: hash('sha256', bytes) });
  }
  options.signal?.throwIfAborted();
  const manifest: Manifest = {
    format: 'avocado-export',
    exporter: EXPORTER_VERSION,
    precision: plan.precision,
    ...(plan.device === undefined ? {} : { device: plan.device }),
    directory: plan.target,
    checkpoint: { directory: plan.checkpoint.directory, files: sources },
    files,
  };
  await writeSynced(join(staged, MANIFEST_FILE), Buffer.from(`${JSON.stringify(manifest, undefined, 1)}\n`));
  return manifest;
}

/** Only our own exports and empty directories may be replaced. */
async function replaceOurs(target: string): Promise<'replace'> {
  const refuse = (what: string, cause?: unknown): AvocadoError =>
    new AvocadoError('bad_request', `${target} ${what}: give a new or empty directory, or an earlier export.`, {
      param: 'out',
      cause,
    });
  let names: string[];
  try {
    names = await readdir(target);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'replace';
    throw refuse('cannot be written to', error);
  }
  if (names.length === 0) return 'replace';
  const ours = await readManifest(target).catch(() => undefined);
  if (ours === undefined) throw refuse('holds other files');
  return 'replace';
}

function explain(error: unknown, target: string): unknown {
  const { code, path } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT' && path?.startsWith(dirname(target)) !== true) return error; // of the checkpoint
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new AvocadoError(
        'export_incomplete',
        `The disk of ${target} is full: free space there, or give another directory.`,
        { cause: error },
      );
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
    case 'ENOTDIR':
    case 'ENOENT':
    case 'EBUSY':
    case 'EXDEV':
    case 'EEXIST':
      return new AvocadoError('bad_request', `${target} cannot be written to (${code}): give another directory.`, {
        param: 'out',
        cause: error,
      });
    default:
      return error;
  }
}

/** As exportModel, for a checkpoint that is open already. */
export async function exportCheckpoint(
  opened: OpenedCheckpoint,
  precision: Precision,
  outDir: string,
  options: OutputOptions = {},
): Promise<Manifest> {
  const plan = await makePlan(opened, precision, options, outDir);
  const existing = options.existing ?? replaceOurs;
  try {
    options.signal?.throwIfAborted();
    return await stageDirectory(
      plan.target,
      (staged) => fill(plan, staged, options),
      () => existing(plan.target),
    );
  } catch (error) {
    if (options.signal?.aborted === true)
      throw new AvocadoError('aborted', 'The export was cancelled; nothing was written.', { cause: error });
    throw error instanceof AvocadoError ? error : explain(error, plan.target);
  }
}

/**
 * Exports a checkpoint: vision.onnx, audio.onnx, decoder.onnx, weights.bin (int8 and int4 only) and manifest.json in
 * `outDir`.
 * The graphs point into the checkpoint's files and into `outDir`, so neither may be moved afterwards.
 * @throws AvocadoError `precision_unsupported`, `checkpoint_*`, `tensor_*`, `bad_request` (outDir holds other files),
 * `export_incomplete` (disk full), `aborted`; then nothing is left behind
 */
export async function exportModel(
  checkpointDir: string,
  precision: string,
  outDir: string,
  options: OutputOptions = {},
): Promise<Manifest> {
  const parsed = parsePrecision(precision);
  const config = await readModelConfig(checkpointDir);
  const checkpoint = await openCheckpoint(checkpointDir);
  return exportCheckpoint({ config, checkpoint }, parsed, outDir, options);
}
