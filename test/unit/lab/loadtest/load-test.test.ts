import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import {
  runLevel,
  levelTable,
  quantiles,
  summarise,
  type RequestResult,
  type SendClip,
} from '../../../../src/lab/loadtest/load-test.ts';

const CLIPS = ['a', 'b', 'c'].map((name) => ({ name, bytes: new Uint8Array([1]) }));
const CAPTION: RequestResult = {
  kind: 'caption',
  firstTokenSeconds: 0.1,
  totalSeconds: 0.2,
  tokenGapsSeconds: [0.01],
  tokens: 5,
  mediaSeconds: 4,
};
const never = new AbortController().signal;

describe('runLevel', () => {
  it('keeps exactly as many requests open as there are clients', async () => {
    let open = 0;
    let most = 0;
    const send: SendClip = async () => {
      open += 1;
      most = Math.max(most, open);
      await sleep(2);
      open -= 1;
      return CAPTION;
    };
    const level = await runLevel(CLIPS, send, { concurrency: 3, requests: 20, leaving: 0, seed: 1 }, never);
    expect(most).toBe(3);
    expect(level.results).toHaveLength(20);
    expect(level.wallSeconds).toBeGreaterThan(0);
  });

  it('repeats a refused request and counts the refusal', async () => {
    let calls = 0;
    const send: SendClip = async () => {
      calls += 1;
      return calls === 1 ? { kind: 'refused', retryAfterSeconds: 0.01 } : CAPTION;
    };
    const { results } = await runLevel(CLIPS, send, { concurrency: 1, requests: 2, leaving: 0, seed: 1 }, never);
    expect(results.map(({ kind }) => kind)).toEqual(['refused', 'caption', 'caption']);
  });

  it('sends the same clips and disconnects for the same seed, others for another', async () => {
    const run = async (seed: number): Promise<string[]> => {
      const sent: string[] = [];
      const send: SendClip = async ({ name }, disconnectAfterMs) => {
        sent.push(disconnectAfterMs === undefined ? name : `${name} leaves`);
        return { kind: 'disconnected' };
      };
      await runLevel(CLIPS, send, { concurrency: 1, requests: 30, leaving: 0.5, seed }, never);
      return sent;
    };
    const first = await run(7);
    expect(first.filter((name) => name.endsWith('leaves')).length).toBeGreaterThan(5);
    expect(first.filter((name) => !name.endsWith('leaves')).length).toBeGreaterThan(5);
    expect(await run(7)).toEqual(first);
    expect(await run(8)).not.toEqual(first);
  });

  it('ends early when it is interrupted', async () => {
    const stop = new AbortController();
    const send: SendClip = async () => {
      stop.abort();
      return { kind: 'failed', code: 'connection' };
    };
    expect(
      (await runLevel(CLIPS, send, { concurrency: 2, requests: 100, leaving: 0, seed: 1 }, stop.signal)).results.length,
    ).toBeLessThan(4);
  });
});

const caption = (tokens: number, firstTokenSeconds: number): RequestResult => ({
  kind: 'caption',
  firstTokenSeconds,
  totalSeconds: 1,
  tokenGapsSeconds: [0.001, 0.003],
  tokens,
  mediaSeconds: 6,
});

describe('summarise', () => {
  it('counts every kind of result, and rates by wall time', () => {
    const broken: RequestResult = { kind: 'failed', code: 'engine_error' };
    const results: RequestResult[] = [
      caption(40, 0.2),
      caption(60, 0.4),
      { kind: 'disconnected' },
      { kind: 'refused', retryAfterSeconds: 1 },
      broken,
      broken,
    ];
    const level = summarise({ concurrency: 4, wallSeconds: 2, results });
    expect(level).toMatchObject({ concurrency: 4, captions: 2, refused: 1, left: 1, failed: { engine_error: 2 } });
    expect([level.tokensPerSecond, level.mediaSecondsPerSecond]).toEqual([50, 6]);
    expect(level.firstToken).toEqual({ p50: 0.2, p95: 0.4, p99: 0.4 });
    expect(level.interToken.p95).toBe(0.003);
  });

  it('of a level without captions is all zero, not NaN', () => {
    const level = summarise({ concurrency: 1, wallSeconds: 1, results: [{ kind: 'disconnected' }] });
    expect([level.tokensPerSecond, level.total.p99]).toEqual([0, 0]);
  });
});

it('quantiles are nearest ranks', () => {
  expect(quantiles(Array.from({ length: 100 }, (_, index) => 100 - index))).toEqual({ p50: 50, p95: 95, p99: 99 });
});

it('the table aligns its columns', () => {
  const level = summarise({ concurrency: 8, wallSeconds: 1, results: [caption(10, 0.25)] });
  const lines = levelTable([level, { ...level, concurrency: 128 }]).split('\n');
  expect(lines).toHaveLength(3);
  expect(new Set(lines.map((line) => line.length)).size).toBe(1);
  expect(lines[2]).toContain('128');
});
