// manifest.json is written last, so an export without one is not finished. It lists the files that the graphs point
// into and is checked before any graph is loaded: initialisers are offsets into files that may have changed since.
import { hash } from 'node:crypto';
import { readFile, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Check, Errors, Type } from '../../base/schema.ts';
import { AvocadoError } from '../../base/errors.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';

export const MANIFEST_FILE = 'manifest.json';
export const GRAPH_FILES = { vision: 'vision.onnx', audio: 'audio.onnx', decoder: 'decoder.onnx' } as const;
/**
 * Version of the graphs and of the layout of quantised weights. Raise it with every change of them (a test notices
 * most): an export of another version in a user's cache is made again.
 */
export const EXPORTER_VERSION = 4;
const FORMAT = 'avocado-export';

const SCHEMA = Type.Object({
  format: Type.Literal(FORMAT),
  exporter: Type.Integer(),
  precision: Type.Union([
    Type.Literal('fp32'),
    Type.Literal('int8'),
    Type.Literal('int4'),
    Type.Literal('bf16'),
    Type.Literal('fp16'),
  ]),
  /** int8 and int4: whose kernels the weights are laid out for; absent: a CPU's */
  device: Type.Optional(Type.Literal('cuda')),
  /** real path of the export itself */
  directory: Type.String(),
  checkpoint: Type.Object({
    /** real path */
    directory: Type.String(),
    /** config.json and the shards: real paths, sizes in bytes, modification times in ms */
    files: Type.Array(Type.Object({ path: Type.String(), bytes: Type.Integer(), modified: Type.Number() }), {
      minItems: 1,
    }),
  }),
  files: Type.Array(Type.Object({ name: Type.String(), bytes: Type.Integer(), sha256: Type.Optional(Type.String()) })),
});

export type Manifest = Type.Static<typeof SCHEMA>;
type SourceFile = Manifest['checkpoint']['files'][number];

/** The files an export depends on: config.json and every shard with thinker tensors. */
export async function sourceFilesOf(checkpoint: Checkpoint): Promise<SourceFile[]> {
  const paths = [await realpath(join(checkpoint.directory, 'config.json')), ...checkpoint.files];
  return Promise.all(
    paths.map(async (path) => {
      const { size, mtimeMs } = await stat(path);
      return { path, bytes: size, modified: mtimeMs };
    }),
  );
}

/** The command that makes this export again. */
function command({ precision, device, checkpoint }: Manifest, directory: string): string {
  const forDevice = device === undefined ? '' : ` --device ${device}`;
  return `avocado export ${checkpoint.directory} --precision ${precision}${forDevice} --out ${directory}`;
}

/** True for a directory that an export was written to, finished or not. */
export async function isExport(directory: string): Promise<boolean> {
  const has = async (name: string): Promise<boolean> =>
    stat(join(directory, name)).then(
      () => true,
      () => false,
    );
  return (await has(MANIFEST_FILE)) || (await has(GRAPH_FILES.decoder));
}

/**
 * Reads the manifest of an export directory. The files it lists are not checked.
 * @returns undefined when there is none
 * @throws AvocadoError `export_incomplete` when it is damaged
 */
export async function readManifest(directory: string): Promise<Manifest | undefined> {
  const path = join(directory, MANIFEST_FILE);
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new AvocadoError(
      'export_incomplete',
      `${path} cannot be read: ${(cause as Error).message}. Remove ${directory} and export again.`,
      { cause },
    );
  }
  if (Check(SCHEMA, value)) return value;
  const first = Errors(SCHEMA, value)[0];
  const problem = `${first?.instancePath ?? '/'} ${first?.message ?? 'is not valid'}`;
  throw new AvocadoError('export_incomplete', `${path} is damaged: ${problem}. Remove ${directory} and export again.`);
}

async function checkFiles(manifest: Manifest, directory: string): Promise<void> {
  for (const { name, bytes, sha256: expected } of manifest.files) {
    const path = join(directory, name);
    const size = await stat(path).then(
      (found) => found.size,
      () => undefined,
    );
    if (size !== bytes) {
      const found = size === undefined ? 'is missing' : `has ${size} bytes instead of ${bytes}`;
      throw new AvocadoError('export_incomplete', `${path} ${found}. Export again: ${command(manifest, directory)}`);
    }
    if (expected !== undefined && hash('sha256', await readFile(path)) !== expected) {
      throw new AvocadoError(
        'export_incomplete',
        `${path} is not what was exported. Export again: ${command(manifest, directory)}`,
      );
    }
  }
}

async function checkSource(
  { path, bytes, modified }: SourceFile,
  manifest: Manifest,
  directory: string,
): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found !== undefined && found.size === bytes && found.mtimeMs === modified) return;
  const happened = found === undefined ? 'is no longer there' : 'has changed since';
  throw new AvocadoError(
    'export_stale',
    `${directory} was exported from ${path}, which ${happened}. Export again: ${command(manifest, directory)}`,
  );
}

/**
 * Reads and checks a manifest: the export is complete, is where it was made, was made by this version, and its
 * checkpoint is unchanged.
 * @throws AvocadoError `export_incomplete`, `export_stale`, each with the command to run
 */
export async function openManifest(directory: string): Promise<Manifest> {
  const real = await realpath(directory);
  const manifest = await readManifest(real);
  if (manifest === undefined) {
    const advice = `Export again: avocado export CHECKPOINT --precision P --out ${directory}`;
    throw new AvocadoError(
      'export_incomplete',
      `${directory} holds an export that was never finished (no ${MANIFEST_FILE}). ${advice}`,
    );
  }
  if (manifest.exporter !== EXPORTER_VERSION) {
    const versions = `version ${manifest.exporter} of the exporter, this program reads version ${EXPORTER_VERSION}`;
    throw new AvocadoError(
      'export_stale',
      `${directory} was made by ${versions}. Export again: ${command(manifest, real)}`,
    );
  }
  if (manifest.directory !== real) {
    const moved = `This export was made at ${manifest.directory} and is now at ${real}`;
    throw new AvocadoError('export_stale', `${moved}. Move it back, or run: ${command(manifest, real)}`);
  }
  await checkFiles(manifest, real);
  for (const source of manifest.checkpoint.files) await checkSource(source, manifest, real);
  return manifest;
}
