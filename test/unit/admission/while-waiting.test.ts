import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { whileWaiting } from '../../../src/admission/while-waiting.ts';

async function collect<Report, Result>(
  reports: AsyncGenerator<Report, Result>,
): Promise<{ readonly told: Report[]; readonly result: Result }> {
  const told: Report[] = [];
  for (;;) {
    const { done, value } = await reports.next();
    if (done === true) return { told, result: value };
    told.push(value);
  }
}

describe('whileWaiting', () => {
  it('yields reports as they come and returns the result', async () => {
    const work = async (report: (value: number) => void): Promise<string> => {
      for (const value of [3, 2, 2, 1]) {
        report(value);
        await sleep(1);
      }
      return 'done';
    };
    expect(await collect(whileWaiting(work))).toEqual({ told: [3, 2, 1], result: 'done' });
  });

  it('tells nothing of work that reports nothing, and throws what it throws', async () => {
    expect(await collect(whileWaiting(async () => 7))).toEqual({ told: [], result: 7 });
    await expect(
      collect(
        whileWaiting(async () => {
          throw new Error('no');
        }),
      ),
    ).rejects.toThrow('no');
  });

  it('skips to the newest for a reader that is slower, or wants to hear less often', async () => {
    const work = async (report: (value: number) => void): Promise<void> => {
      for (let value = 0; value < 60; value += 1) {
        report(value);
        await sleep(2);
      }
    };
    const { told } = await collect(whileWaiting(work, 40));
    expect(told[0]).toBe(0);
    expect(told.length).toBeLessThan(15);
    expect(told).toEqual([...told].sort((left, right) => left - right));
  });

  it('does not make a failure nobody waits for a crash', async () => {
    const reports = whileWaiting(async (report: (value: number) => void) => {
      report(1);
      await sleep(5);
      throw new Error('too late to be heard');
    });
    expect(await reports.next()).toEqual({ done: false, value: 1 });
    await reports.return(undefined as never);
    await sleep(20);
  });
});
