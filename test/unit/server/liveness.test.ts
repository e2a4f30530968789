import { describe, expect, it } from 'vitest';
import { Liveness } from '../../../src/server/routes/health.ts';

const ready = { state: 'ready' as const, busy: true, progress: 1 };

describe('Liveness', () => {
  it('does not count an idle hour against the request that ends it', () => {
    const liveness = new Liveness(1000);
    expect(liveness.verdict({ ...ready, busy: false }, 0)).toBe('ok');
    liveness.look({ ...ready, busy: false }, 3_600_000);
    expect(liveness.verdict(ready, 3_600_900)).toBe('ok');
    expect(liveness.verdict(ready, 3_602_000)).toBe('stalled');
  });

  it('is alive as long as there is progress, however long the work lasts', () => {
    const liveness = new Liveness(1000);
    for (let at = 0; at < 100_000; at += 900) expect(liveness.verdict({ ...ready, progress: at }, at)).toBe('ok');
  });

  it('comes back to life with the next progress', () => {
    const liveness = new Liveness(1000);
    liveness.look(ready, 0);
    expect(liveness.verdict(ready, 2000)).toBe('stalled');
    expect(liveness.verdict({ ...ready, progress: 2 }, 2100)).toBe('ok');
  });

  it('leaves an engine that loads or comes back to those who look after it', () => {
    const liveness = new Liveness(1000);
    for (const state of ['loading', 'restarting'] as const) {
      liveness.look({ ...ready, state }, 0);
      expect(liveness.verdict({ ...ready, state }, 100_000)).toBe('ok');
    }
    expect(liveness.verdict(ready, 100_900)).toBe('ok');
  });

  it('is dead when the engine will not come back', () => {
    expect(new Liveness(1000).verdict({ ...ready, state: 'stopped', busy: false }, 0)).toBe('stopped');
  });
});
