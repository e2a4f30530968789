import { expect, test } from 'vitest';
import { marksOf, type Marks } from '../../../src/segments/marks.ts';
import { SeededRandom } from '../../fixtures/seeded-random.ts';

const FPS = 25;

/** Packets of an encoder: key frames of 20 kB, others of up to 3 kB, and those whose sizes are given. */
function marks(seconds: number, keys: readonly number[], sizes: Readonly<Record<number, number>> = {}): Marks {
  const rng = new SeededRandom(5);
  const times = Float64Array.from({ length: seconds * FPS }, (_, frame) => frame / FPS);
  const isKey = (time: number): boolean => keys.some((key) => Math.abs(key - time) < 1e-6);
  const bytes = Uint32Array.from(times, (time) => sizes[time] ?? (isKey(time) ? 20_000 : 500 + rng.below(2500)));
  return marksOf({ times, bytes, keyTimes: times.filter(isKey) });
}

const every = (step: number, until: number): number[] =>
  Array.from({ length: Math.ceil(until / step) }, (_, index) => index * step);

test('key frames that come before their turn are marks; those at equal distances are none, nor is one at a joint', () => {
  expect(marks(50, [0, 10, 13, 23, 24.2, 34.2, 44.2])).toEqual({ times: [13, 24.2], by: 'keys' });
  expect(marks(60, every(2, 60)).times).toEqual([]);
  expect(marks(60, [...every(2, 30), ...every(2, 30).map((time) => 29 + time)]).times).toEqual([]);
  expect(marks(3, [0]).times).toEqual([]);
});

test('frames as large as key frames are marks, where key frames tell nothing, unless those around are large', () => {
  const keys = every(2, 60);
  expect(marks(60, keys, { 5: 15_000, 31.04: 9000, 40.2: 15_000 }).times).toEqual([5, 31.04, 40.2]);
  expect(marks(50, [0, 10, 13, 23, 33], { 13.2: 15_000 }).times).toEqual([13]);
  expect(marks(60, keys, { 7: 5000, 9.4: 14_000, 9.44: 13_000, 9.48: 14_500 }).times).toEqual([]);
});

test('nothing is told of a codec whose frames are all key frames', () => {
  expect(marks(20, every(1 / FPS, 20))).toEqual({ times: [], by: 'nothing' });
});
