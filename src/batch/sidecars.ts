// Sidecars on disk: written whole or not at all, and never over a file that is not ours.
import { hash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { link, lstat, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Layout } from './layout.ts';
import { fsPath } from './path-text.ts';
import { sidecarText } from './render-sidecar.ts';
import type { Format, ItemRecord, OutputRecord, ResultLine } from './types.ts';

/** Identity and times of a file: another text as soon as it is written to or replaced. */
export function seenOf({ ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [ino, size, mtimeNs, ctimeNs].join('/');
}

async function statOf(path: string): Promise<BigIntStats | undefined> {
  try {
    return await lstat(fsPath(path), { bigint: true });
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG') return undefined;
    throw thrown;
  }
}

export type SidecarPaths = (format: Format) => string;

export function sidecarPaths(layout: Layout, stem: string): SidecarPaths {
  return (format) => layout.sidecar(stem, format);
}

/** The sidecars that are not there, or not as they were left. Files are looked at, not read. */
export async function missingSidecars(
  record: ItemRecord,
  formats: readonly Format[],
  pathOf: SidecarPaths,
): Promise<readonly Format[]> {
  const missing: Format[] = [];
  for (const format of formats) {
    const left = record.outputs?.[format];
    const now = left === undefined ? undefined : await statOf(pathOf(format));
    if (left === undefined || now === undefined || seenOf(now) !== left.seen) missing.push(format);
  }
  return missing;
}

/** What became of one sidecar. */
export interface SidecarOutcome {
  readonly format: Format;
  readonly path: string;
  readonly outcome: 'written' | 'kept' | 'unchanged';
  readonly record: OutputRecord;
}

/**
 * Brings one sidecar up to date; its directory is not forced to the disk yet. What is there is replaced only if the
 * record shows that it is ours. Everything else is kept.
 */
export async function bringSidecar(
  format: Format,
  path: string,
  line: ResultLine,
  known: OutputRecord | undefined,
): Promise<SidecarOutcome> {
  const text = sidecarText(format, line);
  const sha256 = hash('sha256', text);
  const found = await statOf(path);
  const done = async (outcome: SidecarOutcome['outcome'], left: string): Promise<SidecarOutcome> => {
    const now = await statOf(path);
    return { format, path, outcome, record: { seen: now === undefined ? '' : seenOf(now), sha256: left } };
  };
  if (found === undefined) {
    const isOurs = await publish(path, text, { replaces: false });
    return await done(isOurs ? 'written' : 'kept', isOurs ? sha256 : '');
  }
  await rm(fsPath(temporaryOf(path)), { force: true }); // of a process that was killed when it had given the name
  const present = found.isFile() ? hash('sha256', await readFile(fsPath(path))) : '';
  if (present === sha256) return await done('unchanged', sha256);
  if (present === '' || present !== known?.sha256) return await done('kept', '');
  await publish(path, text, { replaces: true });
  return await done('written', sha256);
}

/** File systems that have no hard links say one of these. */
const NO_LINKS = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'];

function temporaryOf(path: string): string {
  return join(dirname(path), `.${hash('sha256', fsPath(path)).slice(0, 16)}.avocado-tmp`);
}

/**
 * Writes a file under another name, waits until it is on the disk, and gives it its own name.
 * @returns false when a file has got there first, which is kept
 */
export async function publish(path: string, text: string, options: { readonly replaces: boolean }): Promise<boolean> {
  const directory = dirname(path);
  await mkdir(fsPath(directory), { recursive: true });
  const temporary = temporaryOf(path);
  await rm(fsPath(temporary), { force: true }); // of a process that was killed here
  try {
    const file = await open(fsPath(temporary), 'wx');
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    const isOurs = options.replaces || (await takeName(temporary, path));
    if (isOurs && options.replaces) await rename(fsPath(temporary), fsPath(path));
    return isOurs;
  } finally {
    await rm(fsPath(temporary), { force: true });
  }
}

/** As a rename that replaces nothing. */
async function takeName(temporary: string, path: string): Promise<boolean> {
  try {
    await link(fsPath(temporary), fsPath(path));
    return true;
  } catch (thrown) {
    const { code = '' } = thrown as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    if (!NO_LINKS.includes(code)) throw thrown;
  }
  if ((await statOf(path)) !== undefined) return false;
  await rename(fsPath(temporary), fsPath(path));
  return true;
}

/** So that new names outlive a loss of power. */
export async function syncDirectory(directory: string): Promise<void> {
  const opened = await open(fsPath(directory));
  try {
    await opened.sync();
  } finally {
    await opened.close();
  }
}
