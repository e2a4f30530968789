import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import process from 'node:process';
import { expect, it } from 'vitest';
import { makeTemporaryDirectory, removeTemporaryDirectory } from '../../../src/base/temporary-directory.ts';
import { zombie } from '../../fixtures/child-processes.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();

it('is made after those of its kind that killed processes left are gone, also of one that nobody waited for', async () => {
  const parent = scratch('tmp');
  mkdirSync(parent);
  const first = await makeTemporaryDirectory(parent, 'avocado-link');
  const nameOf = (pid: number, kind = 'avocado-link'): string =>
    basename(first).replace('avocado-link', kind).replace(`.${process.pid}.`, `.${pid}.`);
  const dead = await zombie();
  const kept = [nameOf(process.ppid), nameOf(dead.pid, 'avocado-other'), 'avocado-link'];
  for (const name of [nameOf(dead.pid), ...kept]) mkdirSync(join(parent, name));
  const second = await makeTemporaryDirectory(parent, 'avocado-link');
  dead.parent.kill();
  expect(readdirSync(parent).sort()).toEqual([basename(first), basename(second), ...kept].sort());
  await removeTemporaryDirectory(first);
  expect([first, second].map((path) => existsSync(path))).toEqual([false, true]);
});
