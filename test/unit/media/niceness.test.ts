import { expect, test } from 'vitest';
import { nicenessAfter, processorSeconds } from '../../../src/media/niceness.ts';

test('the niceness of a process grows with what it has used, and never falls', () => {
  expect([0, 0.9, 1, 3.9, 4, 1000].map((seconds) => nicenessAfter(seconds, 5))).toEqual([5, 5, 10, 10, 15, 15]);
  expect([0, 2, 9].map((seconds) => nicenessAfter(seconds, 12))).toEqual([12, 12, 15]);
  expect(nicenessAfter(9, 19)).toBe(19);
});

test('what a process has used is read behind its name, whatever that is', () => {
  const fields = 'S 1 2 2 0 -1 4194560 100 0 0 0 123 45 0 0 20 0 1 0 100';
  for (const name of ['ffmpeg', 'a) b (c', ') S 1 2']) expect(processorSeconds(`7 (${name}) ${fields}`)).toBe(1.68);
});
