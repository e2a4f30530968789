import { describe, expect, it } from 'vitest';
import { fifoScheduler, type Schedulable } from '../../../src/engine/scheduler.ts';

const member = (id: number, nextChunkTokens = 0): Schedulable => ({ id, nextChunkTokens });
const ids = (members: readonly Schedulable[]): number[] => members.map(({ id }) => id);

describe('fifoScheduler', () => {
  const scheduler = fifoScheduler(100);

  it('admits in order of arrival, as many as there are free slots', () => {
    const plan = scheduler.plan({ waiting: [member(4, 10), member(5, 10), member(6, 10)], prefilling: [], running: [], freeSlots: 2 });
    expect(ids(plan.admit)).toEqual([4, 5]);
    expect(ids(plan.prefill)).toEqual([4, 5]);
  });

  it('decodes every running sequence in every step, also while a prompt is being read', () => {
    const running = [member(2), member(0), member(1)];
    const plan = scheduler.plan({ waiting: [], prefilling: [member(3, 100)], running, freeSlots: 0 });
    expect(ids(plan.decode)).toEqual([2, 0, 1]);
    expect(ids(plan.prefill)).toEqual([3]);
  });

  it('reads the oldest prompt first and lets short ones join while they fit the budget', () => {
    const prefilling = [member(9, 30), member(7, 60), member(8, 30)];
    expect(ids(scheduler.plan({ waiting: [], prefilling, running: [], freeSlots: 0 }).prefill)).toEqual([7, 8]);
  });

  it('runs one chunk even when it alone is over the budget', () => {
    const prefilling = [member(1, 500), member(2, 1)];
    expect(ids(scheduler.plan({ waiting: [], prefilling, running: [member(0)], freeSlots: 0 }).prefill)).toEqual([1]);
  });
});
