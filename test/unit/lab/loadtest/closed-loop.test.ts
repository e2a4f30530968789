import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { runLevel } from '../../../../src/lab/loadtest/closed-loop.ts';
import type { Answer, Send } from '../../../../src/lab/loadtest/types.ts';

const CLIPS = ['a', 'b', 'c'].map((name) => ({ name, bytes: new Uint8Array([1]) }));
const CAPTION: Answer = {
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
    const send: Send = async () => {
      open += 1;
      most = Math.max(most, open);
      await sleep(2);
      open -= 1;
      return CAPTION;
    };
    const level = await runLevel(CLIPS, send, { concurrency: 3, requests: 20, leaving: 0, seed: 1 }, never);
    expect(most).toBe(3);
    expect(level.answers).toHaveLength(20);
    expect(level.wallSeconds).toBeGreaterThan(0);
  });

  it('asks again after a refusal and counts it', async () => {
    let calls = 0;
    const send: Send = async () => {
      calls += 1;
      return calls === 1 ? { kind: 'refused', retryAfterSeconds: 0.01 } : CAPTION;
    };
    const { answers } = await runLevel(CLIPS, send, { concurrency: 1, requests: 2, leaving: 0, seed: 1 }, never);
    expect(answers.map(({ kind }) => kind)).toEqual(['refused', 'caption', 'caption']);
  });

  it('sends the same clips and leavers for the same seed, others for another', async () => {
    const run = async (seed: number): Promise<string[]> => {
      const sent: string[] = [];
      const send: Send = async ({ name }, leaveAfterMs) => {
        sent.push(leaveAfterMs === undefined ? name : `${name} leaves`);
        return { kind: 'left' };
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
    const send: Send = async () => {
      stop.abort();
      return { kind: 'failed', code: 'connection' };
    };
    expect(
      (await runLevel(CLIPS, send, { concurrency: 2, requests: 100, leaving: 0, seed: 1 }, stop.signal)).answers.length,
    ).toBeLessThan(4);
  });
});
