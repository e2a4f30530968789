// A directory that appears whole or not at all: it is filled beside its place under another name and then renamed.
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, realpath, rename, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';

/** Staged directories of this process that are still being filled. */
const filling = new Set<string>();

/** The path with every symlink that exists resolved; parts that do not exist yet stay as they are. */
export async function realPathOfPlanned(path: string): Promise<string> {
  const absolute = resolve(path);
  try {
    return await realpath(absolute);
  } catch {
    const parent = dirname(absolute);
    return parent === absolute ? absolute : join(await realPathOfPlanned(parent), basename(absolute));
  }
}

function isRunning(pid: number, path: string): boolean {
  // In a container every start has the same number: our own is running only if we know it.
  if (pid === process.pid) return filling.has(path);
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Machines that share a disk do not share process numbers, so names carry the host. */
function stagedPrefix(target: string): string {
  return `.${basename(target)}.staged-${hostname()}-`;
}

function besides(target: string): string {
  return join(dirname(target), `${stagedPrefix(target)}${process.pid}-${randomBytes(6).toString('hex')}`);
}

/** Removes what killed processes of this machine left beside `target`. */
async function removeAbandoned(target: string): Promise<void> {
  const parent = dirname(target);
  const prefix = stagedPrefix(target);
  for (const name of await readdir(parent)) {
    const pid = name.startsWith(prefix) ? Number.parseInt(name.slice(prefix.length), 10) : NaN;
    const path = join(parent, name);
    if (!Number.isNaN(pid) && !isRunning(pid, path)) await rm(path, { recursive: true, force: true });
  }
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

const OCCUPIED: ReadonlySet<string | undefined> = new Set(['ENOTEMPTY', 'EEXIST']);

/** What to do with a directory that is already there; throws when it must not be touched. */
export type Existing = () => Promise<'replace' | 'keep'>;

/** Renames `staged` to `target`, unless what is there is to be kept. */
async function moveIntoPlace(staged: string, target: string, existing: Existing): Promise<void> {
  const replaced: string[] = [];
  try {
    for (;;) {
      try {
        await rename(staged, target);
        await syncDirectory(dirname(target));
        return;
      } catch (error) {
        if (!OCCUPIED.has((error as NodeJS.ErrnoException).code)) throw error;
      }
      if ((await existing()) === 'keep') return;
      const aside = besides(target);
      filling.add(aside);
      replaced.push(aside);
      // Somebody else may have moved it first: then the next rename finds the place free, or theirs in it.
      await rename(target, aside).catch(() => undefined);
    }
  } finally {
    for (const path of replaced) {
      await rm(path, { recursive: true, force: true });
      filling.delete(path);
    }
  }
}

/**
 * Fills a new directory and puts it at `target` (a real path) in one step. When `fill` fails or is aborted, nothing is left.
 * Several at once: each is whole, and `existing` says whether the first or the last one stays.
 */
export async function stageDirectory<T>(
  target: string,
  fill: (staged: string) => Promise<T>,
  existing: Existing,
): Promise<T> {
  await mkdir(dirname(target), { recursive: true });
  await existing();
  await removeAbandoned(target);
  const staged = besides(target);
  filling.add(staged);
  try {
    await mkdir(staged);
    const result = await fill(staged);
    await syncDirectory(staged);
    await moveIntoPlace(staged, target, existing);
    return result;
  } finally {
    await rm(staged, { recursive: true, force: true });
    filling.delete(staged);
  }
}
