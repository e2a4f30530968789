import { describe, expect, it } from 'vitest';
import { priorityScheduler, type Schedulable } from '../../../src/engine/scheduler.ts';
import type { Priority } from '../../../src/base/priority-turns.ts';

const member = (id: number, nextChunkTokens = 0, priority: Priority = 'interactive'): Schedulable => ({
  id,
  priority,
  nextChunkTokens,
});
const batch = (id: number, nextChunkTokens = 0): Schedulable => member(id, nextChunkTokens, 'batch');
const ids = (members: readonly Schedulable[]): number[] => members.map(({ id }) => id);

/** Admits until nobody waits, or `picks` times with somebody new of `refill` after each. */
function admitted(waiting: Schedulable[], picks: number, refill?: (id: number) => Schedulable): number[] {
  const scheduler = priorityScheduler(100);
  const queue = [...waiting];
  const order: number[] = [];
  for (let pick = 0; pick < picks; pick++) {
    const chosen = scheduler.admit(queue);
    if (chosen === undefined) throw new Error('nobody was chosen');
    order.push(chosen.id);
    queue.splice(queue.indexOf(chosen), 1);
    if (refill !== undefined) queue.push(refill(100 + pick));
  }
  return order;
}

describe('priorityScheduler at the slots', () => {
  it('admits each class in order of arrival', () => {
    expect(admitted([member(4), member(5), member(6)], 3)).toEqual([4, 5, 6]);
    expect(admitted([batch(4), batch(5), batch(6)], 3)).toEqual([4, 5, 6]);
  });

  it('lets interactive sequences go first, and every fourth time a batch one', () => {
    const batches = [0, 1, 2].map((id) => batch(id));
    const interactive = [3, 4, 5, 6, 7, 8, 9].map((id) => member(id));
    expect(admitted([...batches, ...interactive], 10)).toEqual([3, 4, 5, 0, 6, 7, 8, 1, 9, 2]);
  });

  it('starves no batch sequence however many interactive ones arrive', () => {
    const order = admitted([batch(0), batch(1), member(2), member(3)], 40, (id) => member(id));
    expect(order.indexOf(0)).toBe(3);
    expect(order.indexOf(1)).toBe(7);
  });

  it('lets an interactive sequence wait for one batch one at most, however many there are', () => {
    const waiting = Array.from({ length: 20 }, (_, id) => batch(id));
    expect(admitted([...waiting, member(20), member(21)], 2, (id) => batch(id))).toEqual([20, 21]);
    const scheduler = priorityScheduler(100);
    for (let turn = 0; turn < 11; turn++) {
      const queue = [...waiting, member(50 + turn)];
      const picks = [scheduler.admit(queue)?.id ?? -1, scheduler.admit(queue)?.id ?? -1];
      expect(picks).toContain(50 + turn);
    }
  });
});

describe('priorityScheduler at the prompts', () => {
  const prefill = (prefilling: readonly Schedulable[]): number[] => ids(priorityScheduler(100).prefill(prefilling));

  it('reads the oldest prompt first and lets short ones join while they fit the budget', () => {
    expect(prefill([member(9, 30), member(7, 60), member(8, 30)])).toEqual([7, 8]);
    expect(prefill([batch(9, 30), batch(7, 60), batch(8, 30)])).toEqual([7, 8]);
  });

  it('runs one chunk even when it alone is over the budget', () => {
    expect(prefill([member(1, 500), member(2, 1)])).toEqual([1]);
  });

  it('lets batch prompts join behind interactive ones', () => {
    expect(prefill([batch(1, 20), member(2, 40), member(3, 40)])).toEqual([2, 3, 1]);
  });

  it('gives a batch prompt every fourth chunk beside interactive ones, and reads it to its end first', () => {
    const scheduler = priorityScheduler(100);
    const prefilling = [batch(1, 100), batch(2, 100), member(3, 100), member(4, 100)];
    const order = Array.from({ length: 9 }, () => ids(scheduler.prefill(prefilling))[0]);
    expect(order).toEqual([3, 3, 3, 1, 3, 3, 3, 1, 3]);
  });
});
