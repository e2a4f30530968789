import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { expect, it } from 'vitest';
import { isLive } from '../../../src/base/live-process.ts';
import { zombie } from '../../fixtures/child-processes.ts';

it('tells which processes run: not one that has ended, waited for or not', async () => {
  const { pid, parent } = await zombie();
  expect([process.pid, 1, parent.pid!].map(isLive)).toEqual([true, true, true]);
  expect([pid, spawnSync('true').pid].map(isLive)).toEqual([false, false]);
  parent.kill();
});
