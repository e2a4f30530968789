import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Foreground } from '../../../src/base/foreground.ts';

describe('Foreground', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('holds batch work until the last one who waits has what it waits for', async () => {
    const foreground = new Foreground();
    await foreground.free();
    const leaves = [foreground.enter(), foreground.enter()];
    let isFree = false;
    const free = foreground.free().then(() => (isFree = true));
    leaves[0]?.();
    leaves[0]?.(); // counts once
    await vi.advanceTimersByTimeAsync(100);
    expect([foreground.isHeld, isFree]).toEqual([true, false]);
    leaves[1]?.();
    await free;
    expect(foreground.isHeld).toBe(false);
  });

  it('gives batch work one second in four while others wait without end', async () => {
    const foreground = new Foreground();
    foreground.enter();
    const held: boolean[] = [];
    for (let second = 0; second < 8; second++) {
      await vi.advanceTimersByTimeAsync(500);
      held.push(foreground.isHeld);
      await vi.advanceTimersByTimeAsync(500);
    }
    expect(held).toEqual([true, true, true, false, true, true, true, false]);
  });

  it.each([990, 2500])(
    'gives it that also where one comes as soon as the other leaves, after %i ms',
    async (waitMs) => {
      const foreground = new Foreground();
      let freeMs = 0;
      const pass = async (ms: number): Promise<void> => {
        for (let passed = 0; passed < ms; passed += 10) {
          if (!foreground.isHeld) freeMs += 10;
          await vi.advanceTimersByTimeAsync(10);
        }
      };
      for (let client = 0; client < 20; client++) {
        const leave = foreground.enter();
        await pass(waitMs);
        leave();
        await pass(10);
      }
      expect(freeMs / (20 * (waitMs + 10))).toBeCloseTo(0.25, 1);
    },
  );

  it('holds it as long as ever after a pause', async () => {
    const foreground = new Foreground();
    const leave = foreground.enter();
    await vi.advanceTimersByTimeAsync(2900);
    leave();
    await vi.advanceTimersByTimeAsync(1000);
    foreground.enter();
    await vi.advanceTimersByTimeAsync(2900);
    expect(foreground.isHeld).toBe(true);
  });

  it('tells who listens of every change, until they listen no more', async () => {
    const foreground = new Foreground();
    const told: boolean[] = [];
    const end = foreground.onChange((isHeld) => told.push(isHeld));
    foreground.enter()();
    foreground.enter();
    await vi.advanceTimersByTimeAsync(4500);
    expect(told).toEqual([true, false, true, false, true]);
    end();
    await vi.advanceTimersByTimeAsync(4500);
    expect(told.length).toBe(5);
  });

  it('lets batch work go that is aborted', async () => {
    const foreground = new Foreground();
    foreground.enter();
    const leaving = new AbortController();
    const free = foreground.free(leaving.signal);
    leaving.abort();
    await free;
    expect(foreground.isHeld).toBe(true);
  });
});
