import { describe, expect, it } from 'vitest';
import { Pace } from '../../../src/server/guards/clients.ts';

/** When a body of which `bytesOf(second)` have come is given up, in an idle time of ten seconds. */
function givenUp(bytesOf: (second: number) => number, waits: (second: number) => boolean = () => true): number {
  const pace = new Pace(10_000, 0, 0);
  for (let second = 1; second <= 100; second += 1) {
    pace.look(bytesOf(second), second * 1000, waits(second));
    if (pace.isTooSlow(second * 1000)) return second;
  }
  return Infinity;
}

describe('the pace of a body', () => {
  it.each([
    ['nothing comes', () => 0, 10],
    ['one byte a second comes', (second: number) => second, 10],
    ['it stops after a good start', (second: number) => Math.min(second, 25) * 2000, 35],
    ['it comes at the least pace', (second: number) => second * 1000, Infinity],
    ['it comes in bursts', (second: number) => Math.floor(second / 9) * 10_000, Infinity],
  ])('when %s', (_what, bytesOf, expected) => {
    expect(givenUp(bytesOf)).toBe(expected);
  });

  it('does not count while the server does not read', () => {
    expect(
      givenUp(
        () => 0,
        (second) => second % 8 !== 0,
      ),
    ).toBe(Infinity);
    expect(
      givenUp(
        () => 0,
        (second) => second > 40,
      ),
    ).toBe(50);
  });
});
