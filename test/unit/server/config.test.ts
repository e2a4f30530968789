import { mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { serverConfig } from '../../../src/server/config.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'avocado-config-'));
  symlinkSync(directory, join(directory, 'link'));
  writeFileSync(join(directory, 'file'), '');
});
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

it('resolves media roots to real directories, = signs in paths included', () => {
  const config = serverConfig({ mediaRoots: [`films=${join(directory, 'link')}`, `b-2=${directory}`] });
  expect([...config.mediaRoots]).toEqual([['films', realpathSync(directory)], ['b-2', realpathSync(directory)]]);
  expect(Object.isFrozen(config)).toBe(true);
  expect(config.host).toBe('127.0.0.1');
});

it('tells all mistakes at once', () => {
  const roots = ['nothing', `../x=${directory}`, `a=${join(directory, 'none')}`, `b=${join(directory, 'file')}`, `c=${directory}`, `c=${directory}`];
  expect(() => serverConfig({ mediaRoots: roots })).toThrow(/nothing: write it.*\.\.\/x.*a=.*ENOENT.*b=.*not a directory.*c is given twice/s);
});
