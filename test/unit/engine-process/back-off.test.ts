import { describe, expect, it } from 'vitest';
import { BackOff, RESTART_TIMES } from '../../../src/engine-process/supervisor.ts';

describe('the pause before a restart', () => {
  it('doubles with every fault up to half a minute', () => {
    const backOff = new BackOff(RESTART_TIMES);
    const pauses = Array.from({ length: 10 }, () => backOff.next(0));
    expect(pauses).toEqual([200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
  });

  it('is short again after a minute of health, and only then', () => {
    const backOff = new BackOff(RESTART_TIMES);
    backOff.next(0);
    expect(backOff.next(59_000)).toBe(400);
    expect(backOff.next(60_000)).toBe(200);
    expect(backOff.next(0)).toBe(400);
  });
});
