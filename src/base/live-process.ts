import { readFileSync } from 'node:fs';

/**
 * Whether a process of this machine runs. One that has ended does not, also while its parent has not waited for it: in
 * a container nobody may ever do that.
 */
export function isLive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !/^\) [ZX]/.test(stat.slice(stat.lastIndexOf(')')));
  } catch {
    return true; // not Linux
  }
}
