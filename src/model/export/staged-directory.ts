// A directory that appears complete or not at all: it is filled next to its final place, under another name, and then
// renamed.
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, realpath, rename, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { directoryUnwritable, type AvocadoError } from '../../base/errors.ts';
import { isLive } from '../../base/live-process.ts';

/** Staged directories that this process is still filling. */
const filling = new Set<string>();

/** The path with all existing symlinks resolved. Parts that do not exist yet stay as they are. */
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
  // In a container every start may have the same process id, so our own id says nothing: look at what we are filling.
  return pid === process.pid ? filling.has(path) : isLive(pid);
}

/** Machines that share a disk do not share process ids, so the name contains the host. */
function stagedPrefix(target: string): string {
  return `.${basename(target)}.staged-${hostname()}-`;
}

function siblingOf(target: string): string {
  return join(dirname(target), `${stagedPrefix(target)}${process.pid}-${randomBytes(6).toString('hex')}`);
}

/** Removes what killed processes of this machine left next to `target`. */
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

/** Decides about a directory that exists already; throws when it must not be touched. */
type Existing = () => Promise<'replace' | 'keep'>;

/** Renames `staged` to `target`, unless `existing` decides to keep what is there. */
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
      const aside = siblingOf(target);
      filling.add(aside);
      replaced.push(aside);
      // Another process may have moved it first. Then the next rename finds the place free, or the other's directory in
      // it.
      await rename(target, aside).catch(() => undefined);
    }
  } finally {
    for (const path of replaced) {
      await rm(path, { recursive: true, force: true });
      filling.delete(path);
    }
  }
}

async function makeParent(target: string): Promise<void> {
  await makeDirectories(dirname(target)).catch((cause: unknown) => {
    throw unwritable(target, cause);
  });
}

/** Node's own recursive mkdir never ends below /proc, where nothing can be made and nothing says so. */
async function makeDirectories(path: string): Promise<void> {
  const make = async (): Promise<boolean> => {
    try {
      await mkdir(path);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' && dirname(path) !== path) return false;
      if (code !== 'EEXIST') throw error; // another process may have made it
    }
    return true;
  };
  if (await make()) return;
  await makeDirectories(dirname(path));
  if (!(await make())) throw Object.assign(new RangeError(`${path} cannot be made.`), { code: 'ENOENT' });
}

function isWriteError(thrown: unknown, target: string): boolean {
  const { code, path } = thrown as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EROFS') return true;
  return (code === 'EACCES' || code === 'EPERM') && path?.startsWith(dirname(target)) === true;
}

function unwritable(target: string, cause: unknown): AvocadoError {
  const advice = 'Make room or give it to this user, or name another one with --cache-dir, AVOCADO_CACHE or --out.';
  return directoryUnwritable(dirname(target), cause, advice);
}

/**
 * Fills a new directory and puts it at `target` (a real path) in one step. When `fill` fails or is aborted, nothing is
 * left. Several calls at once are safe: `existing` decides whether the first or the last directory stays.
 * @throws AvocadoError `directory_unwritable`; errors of `fill` and `existing` pass
 */
export async function stageDirectory<T>(
  target: string,
  fill: (staged: string) => Promise<T>,
  existing: Existing,
): Promise<T> {
  const staged = siblingOf(target);
  filling.add(staged);
  try {
    await makeParent(target);
    await existing();
    await removeAbandoned(target);
    await mkdir(staged);
    const result = await fill(staged);
    await syncDirectory(staged);
    await moveIntoPlace(staged, target, existing);
    return result;
  } catch (thrown) {
    throw isWriteError(thrown, target) ? unwritable(target, thrown) : thrown;
  } finally {
    await rm(staged, { recursive: true, force: true }).catch(() => undefined); // of a disk that cannot be written to
    filling.delete(staged);
  }
}
