import { describe, expect, it } from 'vitest';
import { PriorityTurns } from '../../../src/base/priority-turns.ts';

describe('PriorityTurns', () => {
  it('reserves one turn in four for batch requests while both classes wait', () => {
    const turns = new PriorityTurns();
    const order = Array.from({ length: 8 }, () => turns.next({ interactive: 9, batch: 9 })?.[0]).join('');
    expect(order).toBe('iiibiiib');
  });

  it('gives a class that waits alone every turn, and none when none waits', () => {
    const turns = new PriorityTurns();
    expect([turns.next({ interactive: 0, batch: 1 }), turns.next({ interactive: 1, batch: 0 })]).toEqual([
      'batch',
      'interactive',
    ]);
    expect(turns.next({ interactive: 0, batch: 0 })).toBeUndefined();
  });

  it('predicts with a fork without taking turns', () => {
    const turns = new PriorityTurns();
    const fork = turns.fork();
    for (let turn = 0; turn < 3; turn++) fork.next({ interactive: 1, batch: 1 });
    expect(fork.next({ interactive: 1, batch: 1 })).toBe('batch');
    expect(turns.next({ interactive: 1, batch: 1 })).toBe('interactive');
  });
});
