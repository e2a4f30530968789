// Paged slabs on CUDA, on a driver that is a stub (stub/cuda-pages-stub.cc): what is mapped where, what a pool gives
// and gets back, and that a failure changes nothing. The stub's memory is real, so that what is read is what would be
// read on a card; its time is not.
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { prepare, stubEnvironment } from './stub/prepared.ts';

const PAGES = fileURLToPath(new URL('stub/pages.ts', import.meta.url));
const PAGE_BYTES = 2 ** 21;
const scratch = scratchDirectory();

const prepared = prepare();
if (typeof prepared === 'string') console.warn(`Skipped: test/gpu/cuda-pages.test.ts. ${prepared}`);

/** What a case of stub/pages.ts finds, in a process of its own. Its pool has five pages. */
function found(name: string, environment: Readonly<Record<string, string>> = {}): Promise<unknown> {
  if (typeof prepared === 'string') throw new Error(prepared);
  const log = scratch(`${name}.log`);
  writeFileSync(log, '');
  const env = { ...stubEnvironment(prepared, log), ...environment };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, ['--import', 'tsx', PAGES, name, log], { env }, (error, stdout, stderr) => {
      const line = stdout.split('\n').find((each) => each.startsWith('{"pages"'));
      if (line === undefined) reject(new Error(`${error?.message ?? 'nothing found'}\n${stderr.slice(-2000)}`));
      else resolve((JSON.parse(line) as { found: unknown }).found);
    });
  });
}

const map = (count: number): string[] => new Array<string>(count).fill('PAGE map');
const unmap = (count: number): string[] => new Array<string>(count).fill(`PAGE unmap ${PAGE_BYTES}`);
const remap = (count: number): string[] => map(count).flatMap((line) => [...unmap(1), line]);

describe.skipIf(typeof prepared === 'string')('paged slabs on CUDA', () => {
  it('maps one page to all addresses at first, whose writes do no harm', async () => {
    expect(await found('scratch')).toEqual({
      reserving: [
        `PAGE reserve ${3 * PAGE_BYTES}`,
        ...map(3),
        `PAGE access ${3 * PAGE_BYTES}`,
        `FILL ${PAGE_BYTES}`,
        'WAIT stream',
      ],
      values: [5, 5, 5],
    });
  });

  it('commits zeroed pages of their own, sets access once per range, and copies between them', async () => {
    const range = [...remap(2), `PAGE access ${2 * PAGE_BYTES}`, `FILL ${2 * PAGE_BYTES}`];
    expect(await found('commit')).toEqual({
      committing: [...range, ...range, 'WAIT stream'],
      // 9 was written without a commit: it is on all pages without memory.
      fresh: [
        [9, 0, 0, 9],
        [9, 0, 0, 9],
      ],
      written: [
        [0, 1, 2, 9],
        [9, 3, 0, 9],
      ],
      copied: [1, 1, 1, 9],
    });
  });

  it('decommits pages for another slab, which has them zeroed', async () => {
    expect(await found('decommit')).toEqual({
      decommitting: [...unmap(3), ...map(3), `PAGE access ${3 * PAGE_BYTES}`],
      left: [1, 0, 0, 0, 5],
      second: [0, 0, 0, 0, 0],
      firstAgain: [1, 0, 0, 0, 5],
    });
  });

  it('commits all or nothing when the pool has too few pages, and has those of a released slab again', async () => {
    expect(await found('exhaustion')).toEqual({
      message: 'engine_error: Committing memory of the KV cache failed: Pages wanted: 3, free: 1 of 5.',
      refusing: [],
      values: [
        [0, 0, 0, 4, 7],
        [7, 7, 7, 7, 7],
      ],
      afterwards: [0, 0, 0, 0, 0],
    });
  });

  it('commits nothing when the device fails in the middle', async () => {
    expect(await found('failure', { CUDA_STUB_ACCESS_FAILS: '4' })).toEqual({
      message: expect.stringMatching(
        /^engine_error: .*Mapping pages on CUDA device 0 failed: out of memory\./,
      ) as string,
      values: [
        [6, 6],
        [6, 6],
      ],
      afterwards: [
        [0, 0],
        [0, 0],
      ],
    });
  });

  it('gives pages their memory again after the device failed to take it', async () => {
    expect(await found('failure to take', { CUDA_STUB_ACCESS_FAILS: '4' })).toEqual({
      message: expect.stringMatching(
        /^engine_error: .*Unmapping pages on CUDA device 0 failed: out of memory/,
      ) as string,
      values: [1, 2],
      second: [0, 0, 0, 0, 0],
    });
  });

  it('frees addresses with their slab, and the pages with the last of pool and slabs', async () => {
    expect(await found('release')).toEqual({
      lines: [
        ...unmap(2),
        `PAGE free ${2 * PAGE_BYTES}`,
        ...unmap(3),
        `PAGE free ${3 * PAGE_BYTES}`,
        // Five pages, and the one for all addresses without memory.
        ...new Array<string>(6).fill('PAGE release'),
      ],
    });
  });

  it('says so when the device has no room for all pages, and keeps none of them', async () => {
    const { message, lines } = (await found('room', { CUDA_STUB_MIB: '256' })) as {
      message: string;
      lines: string[];
    };
    expect(message).toMatch(/^device_unavailable: .*Allocating 1073741824 bytes .* out of memory\. Lower `--slots`/);
    const created = lines.filter((line) => line.startsWith('PAGE create'));
    expect(created.length).toBeGreaterThan(0);
    expect(lines).toEqual([...created, 'PAGE refused', ...created.map(() => 'PAGE release')]);
  });
});
