import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Places } from '../../../src/base/places.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Work of a name, which says when it starts and ends when told. */
function work(places: Places, started: string[], name: string, signal?: AbortSignal) {
  let end: () => void = () => undefined;
  const ended = places.run(
    () =>
      new Promise<string>((resolve) => {
        started.push(name);
        end = () => {
          resolve(name);
        };
      }),
    signal,
  );
  return {
    ended,
    end: () => {
      end();
    },
  };
}

const LIMITS = { places: 2, overtimePlaces: 1, overtimeMs: 1000 };

test('so many at a time, in order', async () => {
  const places = new Places(LIMITS);
  const started: string[] = [];
  const [a] = ['a', 'b', 'c'].map((name) => work(places, started, name));
  await vi.advanceTimersByTimeAsync(0);
  expect(started).toEqual(['a', 'b']);
  expect(places.stats()).toEqual({ running: 2, waiting: 1, stalledMs: 0 });
  a!.end();
  expect(await a!.ended).toBe('a');
  await vi.advanceTimersByTimeAsync(0);
  expect(started).toEqual(['a', 'b', 'c']);
});

test('what takes long makes room for the next, but not without end', async () => {
  const places = new Places(LIMITS);
  const started: string[] = [];
  const all = ['a', 'b', 'c', 'd'].map((name) => work(places, started, name));
  await vi.advanceTimersByTimeAsync(1000);
  expect(started).toEqual(['a', 'b', 'c']); // one of the two long ones goes on in overtime
  await vi.advanceTimersByTimeAsync(5000);
  expect(places.stats()).toEqual({ running: 3, waiting: 1, stalledMs: 5000 });
  all[0]!.end();
  await vi.advanceTimersByTimeAsync(0);
  expect(started).toEqual(['a', 'b', 'c', 'd']); // the other long one has taken its room
  for (const { end } of all) end();
  await Promise.all(all.map(({ ended }) => ended));
  expect(places.stats()).toEqual({ running: 0, waiting: 0, stalledMs: 0 });
});

test('who leaves the line, or fails, holds no place', async () => {
  const places = new Places({ ...LIMITS, places: 1 });
  const started: string[] = [];
  const first = work(places, started, 'first');
  const stop = new AbortController();
  const left = work(places, started, 'left', stop.signal);
  const next = work(places, started, 'next');
  stop.abort();
  await expect(left.ended).rejects.toMatchObject({ code: 'aborted' });
  first.end();
  await vi.advanceTimersByTimeAsync(0);
  expect(started).toEqual(['first', 'next']);
  next.end();
  await next.ended;
  await expect(places.run(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
  await expect(places.run(() => Promise.resolve(1), stop.signal)).rejects.toMatchObject({ code: 'aborted' });
  expect(places.stats().running).toBe(0);
});

test('without overtime, the next one waits until a place is given back', async () => {
  const places = new Places({ places: 1 });
  const started: string[] = [];
  const first = work(places, started, 'first');
  const next = work(places, started, 'next');
  await vi.advanceTimersByTimeAsync(1e9);
  expect(started).toEqual(['first']);
  first.end();
  await vi.advanceTimersByTimeAsync(0);
  expect(started).toEqual(['first', 'next']);
  next.end();
  expect(await next.ended).toBe('next');
});
