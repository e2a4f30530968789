import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Makes a directory and those above it that are missing. Not by Node's own `recursive`, which never returns where the
 * system says that a directory is missing although it is there, as /proc and automounts do.
 * @throws what the system says
 */
export function makeDirectory(path: string): void {
  try {
    mkdirSync(path);
  } catch (thrown) {
    const parent = dirname(path);
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT' && !existsSync(parent)) {
      makeDirectory(parent);
      makeDirectory(path);
    } else if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) throw thrown;
  }
}
