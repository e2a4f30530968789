import { statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { describe, expect, it } from 'vitest';
import { makeDirectory } from '../../../src/base/make-directory.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();

describe('makeDirectory', () => {
  it('makes what is missing, and leaves what is there, links to directories too', () => {
    const path = scratch(join('a', 'b', 'c'));
    makeDirectory(path);
    makeDirectory(path);
    symlinkSync(path, scratch('link'));
    makeDirectory(scratch(join('link', 'd')));
    makeDirectory(`${path}/e/`);
    expect(['d', 'e'].map((name) => statSync(join(path, name)).isDirectory())).toEqual([true, true]);
  });

  it('says what is in the way', () => {
    writeFileSync(scratch('file'), '');
    symlinkSync(scratch('nowhere'), scratch('dangling'));
    expect(() => {
      makeDirectory(scratch('file'));
    }).toThrow('EEXIST');
    expect(() => {
      makeDirectory(scratch(join('file', 'below')));
    }).toThrow('ENOTDIR');
    expect(() => {
      makeDirectory(scratch(join('dangling', 'below')));
    }).toThrow('EEXIST');
  });

  // Node's own mkdir never comes back from here.
  it('comes back where a directory that is there is called missing', () => {
    const path = `/proc/no-such-${process.pid}/below`;
    expect(() => {
      makeDirectory(path);
    }).toThrow('ENOENT');
  });
});
