import { mkdirSync, readdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { describe, expect, it } from 'vitest';
import { stageDirectory } from '../../../../src/model/export/staged-directory.ts';
import { zombie } from '../../../fixtures/child-processes.ts';
import { scratchDirectory } from '../../../fixtures/scratch.ts';

const scratch = scratchDirectory();

const unwritable = (place: string): unknown =>
  expect.objectContaining({ code: 'directory_unwritable', message: expect.stringContaining(place) as string });

describe('a place that cannot be written to', () => {
  it.each(['/dev/null/.cache/entry', '/proc/nothing/entry', '/proc/nothing/deeper/entry'])(
    'is named, with what to do: %s',
    async (target) => {
      const staging = stageDirectory(
        target,
        () => Promise.resolve(),
        () => Promise.resolve('keep'),
      );
      await expect(staging).rejects.toThrow(unwritable(target.replace('/entry', '')));
      await expect(staging).rejects.toThrow('--cache-dir');
    },
  );
});

it('removes what a killed process left, also one that nobody waited for, and nothing of one that lives', async () => {
  const place = scratch('cache');
  const { pid, parent } = await zombie();
  const [dead, living] = [pid, process.ppid].map((id) => `.entry.staged-${hostname()}-${id}-abc`);
  for (const name of [dead, living]) mkdirSync(join(place, name!), { recursive: true });
  await stageDirectory(
    join(place, 'entry'),
    () => Promise.resolve(),
    () => Promise.resolve('keep'),
  );
  parent.kill();
  expect(readdirSync(place).sort()).toEqual([living, 'entry'].sort());
});
