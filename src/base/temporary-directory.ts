// Directories for temporary files that do not outlive their process for long: they go when it exits, and what a
// process that was killed left goes when the next one makes one.
import { randomBytes } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { isLive } from './live-process.ts';

const STARTED_MS = Math.round(performance.timeOrigin);
const made = new Set<string>();

process.on('exit', () => {
  for (const path of made) if (existsSync(path)) rmSync(path, { recursive: true, force: true });
});

/**
 * Makes a directory that only this user can read, after deleting those of the same kind whose processes died.
 * @param kind how its name begins
 * @throws what the system says
 */
export async function makeTemporaryDirectory(parent: string, kind: string): Promise<string> {
  // Leftovers of another user cannot be deleted; that must not stop this one.
  const names = await readdir(parent);
  const leftovers = names.filter((name) => isLeftover(name, kind));
  await Promise.allSettled(leftovers.map((name) => rm(join(parent, name), { recursive: true, force: true })));
  const random = randomBytes(6).toString('hex');
  const path = join(parent, `${prefixOf(kind)}${process.pid}.${STARTED_MS}.${random}`);
  // Known before it is there: a signal may end the process before anyone hears that it is.
  made.add(path);
  await mkdir(path, { mode: 0o700 });
  return path;
}

/** @throws what the system says */
export async function removeTemporaryDirectory(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
  made.delete(path);
}

/** Hosts that share the parent directory cannot see each other's processes, so the host is part of the name. */
function prefixOf(kind: string): string {
  return `${kind}.${hostname().replace(/[^A-Za-z0-9-]/g, '_')}.`;
}

/**
 * Names are `kind.host.pid.startMs.random`. Our own pid with another start time belongs to a dead process, since a
 * server in a container always has the same pid.
 */
function isLeftover(name: string, kind: string): boolean {
  if (!name.startsWith(prefixOf(kind))) return false;
  const [pid, startedMs] = name.slice(prefixOf(kind).length).split('.').map(Number);
  if (pid === undefined || startedMs === undefined || !Number.isInteger(pid) || pid <= 0) return false;
  return pid === process.pid ? startedMs !== STARTED_MS : !isLive(pid);
}
