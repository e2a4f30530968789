import { describe, expect, it } from 'vitest';
import { levelTable, quantiles, summarise } from '../../../../src/lab/loadtest/summary.ts';
import type { Answer } from '../../../../src/lab/loadtest/types.ts';

const caption = (tokens: number, firstTokenSeconds: number): Answer => ({
  kind: 'caption',
  firstTokenSeconds,
  totalSeconds: 1,
  tokenGapsSeconds: [0.001, 0.003],
  tokens,
  mediaSeconds: 6,
});

describe('summarise', () => {
  it('counts every kind of answer and rates by wall time', () => {
    const broken: Answer = { kind: 'failed', code: 'engine_error' };
    const answers: Answer[] = [
      caption(40, 0.2),
      caption(60, 0.4),
      { kind: 'left' },
      { kind: 'refused', retryAfterSeconds: 1 },
      broken,
      broken,
    ];
    const level = summarise({ concurrency: 4, wallSeconds: 2, answers });
    expect(level).toMatchObject({ concurrency: 4, captions: 2, refused: 1, left: 1, failed: { engine_error: 2 } });
    expect([level.tokensPerSecond, level.mediaSecondsPerSecond]).toEqual([50, 6]);
    expect(level.firstToken).toEqual({ p50: 0.2, p95: 0.4, p99: 0.4 });
    expect(level.interToken.p95).toBe(0.003);
  });

  it('of a level without captions is all zero, not NaN', () => {
    const level = summarise({ concurrency: 1, wallSeconds: 1, answers: [{ kind: 'left' }] });
    expect([level.tokensPerSecond, level.total.p99]).toEqual([0, 0]);
  });
});

it('quantiles are nearest ranks', () => {
  expect(quantiles(Array.from({ length: 100 }, (_, index) => 100 - index))).toEqual({ p50: 50, p95: 95, p99: 99 });
});

it('the table lines its columns up', () => {
  const level = summarise({ concurrency: 8, wallSeconds: 1, answers: [caption(10, 0.25)] });
  const lines = levelTable([level, { ...level, concurrency: 128 }]).split('\n');
  expect(lines).toHaveLength(3);
  expect(new Set(lines.map((line) => line.length)).size).toBe(1);
  expect(lines[2]).toContain('128');
});
