import { describe, expect, it } from 'vitest';
import { HangWatch } from '../../../src/engine-process/engine-connection.ts';

const LIMITS = { heartbeatTimeoutMs: 3000, startTimeoutMs: 10_000, stallMs: 8000 };
const STEP = 1000;

/** @returns how many steps pass until it is called a hang, and what it is called */
function stepsUntilHang(watch: HangWatch, beforeEach: () => void = () => undefined): [number, string] | undefined {
  for (let step = 1; step <= 100; step++) {
    beforeEach();
    const hang = watch.tick(STEP, STEP);
    if (hang !== undefined) return [step, hang];
  }
  return undefined;
}

describe('a hang', () => {
  it('is silence', () => {
    const watch = new HangWatch(LIMITS);
    watch.heard(undefined);
    expect(stepsUntilHang(watch)).toEqual([3, 'gave no sign of life for 3.0 s']);
  });

  it('is longer silence while a program starts', () => {
    expect(stepsUntilHang(new HangWatch(LIMITS))).toEqual([10, 'gave no sign of life for 10 s']);
  });

  it('is work without progress', () => {
    const watch = new HangWatch(LIMITS);
    expect(
      stepsUntilHang(watch, () => {
        watch.heard({ busy: true, progress: 5 });
      }),
    ).toEqual([8, 'made no progress for 8.0 s']);
  });

  it('is neither an idle process, nor one whose work goes forward, nor one that loads', () => {
    const idle = new HangWatch(LIMITS);
    expect(
      stepsUntilHang(idle, () => {
        idle.heard({ busy: false, progress: 5 });
      }),
    ).toBeUndefined();
    const working = new HangWatch(LIMITS);
    let progress = 0;
    expect(
      stepsUntilHang(working, () => {
        working.heard({ busy: true, progress: progress++ });
      }),
    ).toBeUndefined();
    const loading = new HangWatch(LIMITS);
    expect(
      stepsUntilHang(loading, () => {
        loading.heard(undefined);
      }),
    ).toBeUndefined();
  });

  it('does not count an idle hour against the next request', () => {
    const watch = new HangWatch(LIMITS);
    for (let step = 0; step < 3600; step++) {
      watch.heard({ busy: false, progress: 5 });
      watch.tick(STEP, STEP);
    }
    expect(
      stepsUntilHang(watch, () => {
        watch.heard({ busy: true, progress: 5 });
      }),
    ).toEqual([8, 'made no progress for 8.0 s']);
  });

  it('is not the time in which the watcher itself was stopped', () => {
    const watch = new HangWatch(LIMITS);
    watch.heard(undefined);
    expect(watch.tick(3_600_000, STEP)).toBeUndefined();
    watch.heard(undefined);
    expect(watch.tick(STEP, STEP)).toBeUndefined();
  });
});
