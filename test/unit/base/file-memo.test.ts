import { mkdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { fileIdentity, FileMemo } from '../../../src/base/file-memo.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();
const OLD = new Date('2020-01-01');

/** A memo of what lies in files, and what was read for it. */
function memoOf(
  contents: (path: string) => string | Promise<string>,
  capacity = 8,
): { memo: FileMemo<string>; reads: string[] } {
  const reads: string[] = [];
  const memo = new FileMemo(async (path) => {
    reads.push(path);
    return contents(path);
  }, capacity);
  return { memo, reads };
}

describe('FileMemo', () => {
  it('reads a file once for as long as it stays as it is', async () => {
    const path = scratch('once');
    writeFileSync(path, 'x');
    let value = 'first';
    const { memo, reads } = memoOf(() => value);
    expect([await memo.get(path), await memo.get(path)]).toEqual(['first', 'first']);
    value = 'second';
    expect(await memo.get(path)).toBe('first');
    expect(reads).toEqual([path]);
  });

  it.each([
    [
      'written to',
      (path: string) => {
        writeFileSync(path, 'longer');
      },
    ],
    [
      'touched',
      (path: string) => {
        utimesSync(path, OLD, new Date('2021-01-01'));
      },
    ],
    [
      'replaced by one of the same size and time',
      (path: string) => {
        writeFileSync(`${path}.new`, 'y');
        utimesSync(`${path}.new`, OLD, OLD);
        renameSync(`${path}.new`, path);
      },
    ],
    [
      'written to, its time set back',
      (path: string) => {
        writeFileSync(path, 'y');
        utimesSync(path, OLD, OLD);
      },
    ],
  ])('reads a file again that was %s', async (name, change) => {
    const path = scratch(`again ${name}`);
    writeFileSync(path, 'x');
    utimesSync(path, OLD, OLD);
    const { memo, reads } = memoOf(() => 'value');
    await memo.get(path);
    await new Promise((resolve) => setTimeout(resolve, 20)); // the file system's clock ticks
    change(path);
    await memo.get(path);
    expect(reads).toHaveLength(2);
  });

  it('does not remember a file that changed while it was read', async () => {
    const path = scratch('changing');
    writeFileSync(path, 'x');
    let first = true;
    const { memo, reads } = memoOf((file) => {
      if (first) writeFileSync(file, 'longer');
      first = false;
      return 'value';
    });
    await memo.get(path);
    await memo.get(path);
    await memo.get(path);
    expect(reads).toHaveLength(2);
  });

  it('does not remember failures, and asks about a missing file every time', async () => {
    const { memo, reads } = memoOf(() => {
      throw new Error('unreadable');
    });
    const missing = scratch('missing');
    await expect(memo.get(missing)).rejects.toThrow('unreadable');
    await expect(memo.get(missing)).rejects.toThrow('unreadable');
    expect(reads).toHaveLength(2);
    const { memo: kinder, reads: kinderReads } = memoOf(() => 'nothing');
    expect([await kinder.get(missing), await kinder.get(missing), kinderReads.length]).toEqual([
      'nothing',
      'nothing',
      2,
    ]);
  });

  it('forgets the file that was asked for longest ago', async () => {
    const paths = ['a', 'b', 'c'].map((name) => scratch(`least ${name}`));
    for (const path of paths) writeFileSync(path, 'x');
    const [a = '', b = '', c = ''] = paths;
    const { memo, reads } = memoOf(() => 'value', 2);
    for (const path of [a, b, a, c, a, b]) await memo.get(path);
    expect(reads).toEqual([a, b, c, b]);
  });
});

describe('fileIdentity', () => {
  it('is that of what a path leads to, and nothing where there is nothing', async () => {
    const path = scratch('identity');
    expect(await fileIdentity(path)).toBeUndefined();
    writeFileSync(path, 'x');
    const identity = await fileIdentity(path);
    expect(identity).toBe(await fileIdentity(path));
    rmSync(path);
    mkdirSync(path);
    expect(await fileIdentity(path)).not.toBe(identity);
  });
});
