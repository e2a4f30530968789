import { describe, expect, it } from 'vitest';
import { StatsAccumulator } from '../../../src/engine-process/stats-accumulator.ts';
import { STATS } from './fake-engine.ts';

describe('the numbers of an engine process', () => {
  it('are nothing before the first heartbeat', () => {
    expect(new StatsAccumulator().stats()).toMatchObject({
      running: 0,
      freeSlots: 0,
      busy: false,
      steps: 0,
      lastStepAtMs: undefined,
    });
  });

  it('are those of the last heartbeat, on the clock of this process', () => {
    const ledger = new StatsAccumulator();
    ledger.heard({ type: 'heartbeat', stats: { ...STATS, lastStepAtMs: 9e12 }, lastStepAgeMs: 500 });
    const { lastStepAtMs, ...rest } = ledger.stats();
    expect(performance.now() - lastStepAtMs!).toBeGreaterThanOrEqual(500);
    expect(performance.now() - lastStepAtMs!).toBeLessThan(10_000);
    expect({ ...rest, lastStepAtMs: STATS.lastStepAtMs }).toEqual(STATS);
  });

  it('say of a dead process that nothing runs and nothing is free, but keep what was counted', () => {
    const ledger = new StatsAccumulator();
    ledger.heard({ type: 'heartbeat', stats: STATS, lastStepAgeMs: 500 });
    const { lastStepAtMs } = ledger.stats();
    ledger.died();
    expect(ledger.stats()).toEqual({
      ...STATS,
      lastStepAtMs,
      running: 0,
      waiting: 0,
      freeSlots: 0,
      busy: false,
      kvUsage: 0,
      kvReserved: 0,
      decoding: { running: 0, waiting: 0, stalledMs: 0 },
    });
  });

  it('count on over a restart', () => {
    const ledger = new StatsAccumulator();
    for (let life = 0; life < 3; life++) {
      ledger.heard({ type: 'heartbeat', stats: undefined, lastStepAgeMs: undefined });
      ledger.heard({ type: 'heartbeat', stats: STATS, lastStepAgeMs: 500 });
      if (life < 2) ledger.died();
    }
    expect(ledger.stats()).toMatchObject({
      running: 2,
      steps: 30,
      generatedTokens: 300,
      promptTokens: 3000,
      progress: 60,
      caches: { media: { hits: 3, misses: 6 }, prefix: { hits: 9, misses: 12 } },
    });
  });
});
