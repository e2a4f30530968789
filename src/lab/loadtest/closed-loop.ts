import { setTimeout as sleep } from 'node:timers/promises';
import type { Answer, Clip, Level, LevelOptions, Send } from './types.ts';

/** Longest wait after a refusal: the server's own hint may be minutes, and a load test is there to keep asking. */
const MOST_WAIT_SECONDS = 2;
/** Who leaves does so within this, or within twice the time captions have taken so far. */
const FIRST_LEAVE_MS = 1000;

/** Park and Miller's generator: the same seed sends the same requests. */
function randomFrom(seed: number): () => number {
  let state = (seed % 2_147_483_646) + 1;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return (state - 1) / 2_147_483_646;
  };
}

/**
 * A closed loop: `concurrency` clients send `requests` clips between them, each its next one when the last has ended. A refused
 * client waits as it was told and asks again; every refusal counts.
 */
export async function runLevel(
  clips: readonly Clip[],
  send: Send,
  options: LevelOptions,
  signal: AbortSignal,
): Promise<Level> {
  const random = randomFrom(options.seed);
  const answers: Answer[] = [];
  let usualMs = FIRST_LEAVE_MS / 2;
  let left = options.requests;

  async function sendOne(): Promise<void> {
    const clip = clips[Math.floor(random() * clips.length)];
    if (clip === undefined) throw new Error('A load test without clips. This is a bug.');
    const leaveAfterMs = random() < options.leaving ? Math.round(random() * 2 * usualMs) : undefined;
    for (;;) {
      const answer = await send(clip, leaveAfterMs, signal);
      answers.push(answer);
      if (answer.kind === 'caption') usualMs = 0.8 * usualMs + 0.2 * answer.totalSeconds * 1000;
      if (answer.kind !== 'refused' || signal.aborted) return;
      await sleep(Math.min(MOST_WAIT_SECONDS, answer.retryAfterSeconds) * 1000);
    }
  }

  async function client(): Promise<void> {
    while (left > 0 && !signal.aborted) {
      left -= 1;
      await sendOne();
    }
  }

  const startedMs = performance.now();
  await Promise.all(Array.from({ length: options.concurrency }, client));
  return { concurrency: options.concurrency, wallSeconds: (performance.now() - startedMs) / 1000, answers };
}
