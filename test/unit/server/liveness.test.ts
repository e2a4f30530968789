import { expect, it } from 'vitest';
import { Liveness } from '../../../src/server/liveness.ts';

it('does not count an idle hour against the request that ends it', () => {
  const liveness = new Liveness(1000);
  expect(liveness.isStalled({ running: 0, steps: 5 }, 0)).toBe(false);
  liveness.look({ running: 0, steps: 5 }, 3_600_000);
  expect(liveness.isStalled({ running: 1, steps: 5 }, 3_600_900)).toBe(false);
  expect(liveness.isStalled({ running: 1, steps: 5 }, 3_601_100)).toBe(true);
});

it('is alive as long as steps are taken, however long the work lasts', () => {
  const liveness = new Liveness(1000);
  for (let at = 0; at < 100_000; at += 900) expect(liveness.isStalled({ running: 4, steps: at }, at)).toBe(false);
});

it('comes back to life with the next step', () => {
  const liveness = new Liveness(1000);
  liveness.look({ running: 1, steps: 1 }, 0);
  expect(liveness.isStalled({ running: 1, steps: 1 }, 2000)).toBe(true);
  expect(liveness.isStalled({ running: 1, steps: 2 }, 2100)).toBe(false);
});
