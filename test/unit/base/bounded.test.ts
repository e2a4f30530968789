import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readTextFile, withTimeLimit } from '../../../src/base/bounded.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();

describe('the text of a file', () => {
  it('is read where there is a regular file, and undefined where there is none', async () => {
    writeFileSync(scratch('a.json'), '{}');
    expect(await readTextFile(scratch('a.json'))).toBe('{}');
    expect(await readTextFile(scratch('b.json'))).toBeUndefined();
    expect(await readTextFile(scratch('a.json/b'))).toBeUndefined();
    writeFileSync(scratch('marked.json'), '\uFEFF{}');
    expect(await readTextFile(scratch('marked.json'))).toBe('{}');
  });

  it('is not waited for from a pipe, and not read from a device or a directory', async () => {
    execFileSync('mkfifo', [scratch('pipe')]);
    symlinkSync('/dev/zero', scratch('zero'));
    mkdirSync(scratch('directory'));
    await expect(readTextFile(scratch('pipe'))).rejects.toThrow('it is not a regular file');
    await expect(readTextFile(scratch('zero'))).rejects.toThrow('it is not a regular file');
    await expect(readTextFile(scratch('directory'))).rejects.toThrow('it is a directory');
  });
});

describe('work with a time limit', () => {
  it('gives its result or its error', () => {
    expect(withTimeLimit(60_000, () => withTimeLimit(60_000, () => 7))).toBe(7);
    expect(() =>
      withTimeLimit(60_000, () => {
        throw new TypeError('no');
      }),
    ).toThrow(TypeError);
  });

  it('is stopped in a loop and in a regular expression', () => {
    const loop = (): never => {
      for (;;);
    };
    expect(() => withTimeLimit(20, loop)).toThrow('it takes longer than 0.02 s');
    expect(() => withTimeLimit(20, () => /(a+)+b/.test('a'.repeat(64)))).toThrow('it takes longer than 0.02 s');
  });
});
