// What a process with the CUDA provider writes.
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Files for the stdout and stderr of one process. Node makes a pipe non-blocking, and then what the provider writes
 * while it is full is lost.
 */
export function outputFiles(): {
  /** of spawn() */
  readonly stdio: ['ignore', number, number];
  /** all that was written, once the process has ended; the files are gone then */
  take(): Record<'stdout' | 'stderr', string>;
} {
  const folder = mkdtempSync(join(tmpdir(), 'avocado-output-'));
  const paths = { stdout: join(folder, 'stdout'), stderr: join(folder, 'stderr') };
  const [stdout, stderr] = [openSync(paths.stdout, 'w'), openSync(paths.stderr, 'w')];
  return {
    stdio: ['ignore', stdout, stderr],
    take: () => {
      for (const file of [stdout, stderr]) closeSync(file);
      const texts = { stdout: readFileSync(paths.stdout, 'utf8'), stderr: readFileSync(paths.stderr, 'utf8') };
      rmSync(folder, { recursive: true });
      return texts;
    },
  };
}
