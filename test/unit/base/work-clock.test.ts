import { expect, test } from 'vitest';
import { WorkClock } from '../../../src/base/work-clock.ts';

test('two runs of a part count once, and the overlap is the time of an encoder beside the decoder', async () => {
  let nowMs = 1000;
  const clock = new WorkClock(() => nowMs);
  const ends: (() => void)[] = [];
  const begin = (part: 'files' | 'encoders' | 'prefill' | 'decode'): Promise<void> =>
    clock.time(part, () => new Promise((resolve) => ends.push(resolve)));
  const wait = async (ms: number): Promise<void> => {
    nowMs += ms;
    await Promise.resolve();
  };
  const end = async (index: number): Promise<void> => {
    ends[index]!();
    await runs[index];
  };
  await wait(500); // idle
  const runs = [begin('files')];
  await wait(1000);
  runs.push(begin('encoders'), begin('encoders'));
  await wait(2000); // two encoders
  await end(1);
  runs.push(begin('decode'));
  await wait(4000); // one encoder and the decoder
  await end(2);
  await end(0);
  await wait(8000); // the decoder alone
  expect(clock.seconds()).toEqual({ files: 7, encoders: 6, prefill: 0, decode: 12, overlap: 4 });
  await end(3);
  await wait(500);
  expect(clock.seconds()).toEqual({ files: 7, encoders: 6, prefill: 0, decode: 12, overlap: 4 });
});

test('a run that fails ends too', async () => {
  let nowMs = 0;
  const clock = new WorkClock(() => nowMs);
  await expect(clock.time('prefill', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  nowMs = 1000;
  expect(clock.seconds().prefill).toBe(0);
});
