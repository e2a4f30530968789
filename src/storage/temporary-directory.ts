import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { extname, join } from 'node:path';
import process from 'node:process';

/** Where media lie while they are captioned. Gone with the process; what a killed one left is removed by the next. */
export interface TemporaryDirectory {
  readonly path: string;
  /** a path nobody uses, with the extension of the client's name for it when it is harmless */
  newPath(fileName: string): string;
  close(): Promise<void>;
}

const PREFIX = 'avocado-intake';
const STARTED_MS = Math.round(performance.timeOrigin);

/** Hosts that share a directory cannot see each other's processes, so the name says whose it is. */
function hostPrefix(): string {
  return `${PREFIX}.${hostname().replace(/[^A-Za-z0-9-]/g, '_')}.`;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** `PREFIX.host.pid.startMs.random`: our own number with another start belongs to a dead process (a container's pid 1). */
function isLeftover(name: string): boolean {
  if (!name.startsWith(hostPrefix())) return false;
  const [pid, startedMs] = name.slice(hostPrefix().length).split('.').map(Number);
  if (pid === undefined || startedMs === undefined || !Number.isInteger(pid) || pid <= 0) return false;
  return pid === process.pid ? startedMs !== STARTED_MS : !isAlive(pid);
}

async function removeLeftovers(parent: string): Promise<void> {
  const names = await readdir(parent);
  // Another user's leftovers are not ours to remove, and no reason not to start.
  await Promise.allSettled(
    names.filter(isLeftover).map((name) => rm(join(parent, name), { recursive: true, force: true })),
  );
}

/** Makes the directory, readable by this user only, after removing those of dead processes. */
export async function openTemporaryDirectory(parent: string): Promise<TemporaryDirectory> {
  await removeLeftovers(parent);
  const directory = await mkdtemp(join(parent, `${hostPrefix()}${process.pid}.${STARTED_MS}.`));
  const removeNow = (): void => {
    rmSync(directory, { recursive: true, force: true });
  };
  process.once('exit', removeNow);
  return {
    path: directory,
    newPath: (fileName) => {
      const extension = extname(fileName);
      return join(directory, `${randomUUID()}${/^\.[A-Za-z0-9]{1,8}$/.test(extension) ? extension : ''}`);
    },
    close: async () => {
      process.removeListener('exit', removeNow);
      await rm(directory, { recursive: true, force: true });
    },
  };
}
