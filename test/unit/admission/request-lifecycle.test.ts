import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import { RequestLifecycle } from '../../../src/admission/lifecycle.ts';

const GONE = new AvocadoError('aborted', 'The client has left.');

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('RequestLifecycle', () => {
  it('ends at the latest possible deadline, and names the stage', () => {
    const life = new RequestLifecycle('a', 60);
    life.stage = 'decode';
    vi.advanceTimersByTime(59_900);
    expect(life.signal.aborted).toBe(false);
    vi.advanceTimersByTime(200);
    expect(life.signal.reason).toMatchObject({
      code: 'deadline_exceeded',
      message: expect.stringMatching(/60 s.*decoding/) as string,
    });
    expect(life.abortedIn).toBe('decode');
  });

  it('counts a deadline from its start, and none beyond the latest', () => {
    const life = new RequestLifecycle('a', 60);
    vi.advanceTimersByTime(5000);
    life.setDeadline(6);
    vi.advanceTimersByTime(1100);
    expect(life.signal.reason).toMatchObject({
      code: 'deadline_exceeded',
      message: expect.stringContaining('at most 60 s') as string,
    });
    const long = new RequestLifecycle('b', 60);
    long.setDeadline(1e9);
    vi.advanceTimersByTime(60_100);
    expect(long.signal.aborted).toBe(true);
  });

  it('keeps the first reason and its stage', () => {
    const life = new RequestLifecycle('a', 60);
    life.stage = 'prefill';
    life.abort(GONE);
    life.stage = 'generate';
    life.abort(new AvocadoError('engine_unavailable', 'Stopping.'));
    expect([life.signal.reason, life.abortedIn]).toEqual([GONE, 'prefill']);
  });

  it('cannot be given up after its answer, nor after its end', () => {
    const answered = new RequestLifecycle('a', 60);
    answered.finish();
    answered.abort(GONE);
    const ended = new RequestLifecycle('b', 60);
    ended.end();
    vi.advanceTimersByTime(120_000);
    expect([answered.signal.aborted, answered.abortedIn, ended.signal.aborted]).toEqual([false, undefined, false]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('takes a deadline longer than timers can count', () => {
    const life = new RequestLifecycle('a', 1e10);
    vi.advanceTimersByTime(1000);
    expect(life.signal.aborted).toBe(false);
    life.end();
  });
});
