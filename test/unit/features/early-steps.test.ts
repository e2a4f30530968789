import { afterEach, expect, test } from 'vitest';
import { EarlySteps, StepSender } from '../../../src/features/early-steps.ts';
import type { FrameStack } from '../../../src/features/types.ts';
import { NORMALISATION } from '../../fixtures/media-plan.ts';

const SIZE = { height: 28, width: 28 };
const FRAME = 28 * 28 * 3;
const open: EarlySteps[] = [];

/** Five frames, whose level is their number: two steps and a half. */
function begin(): { early: EarlySteps; sender: StepSender; stack: FrameStack } {
  const data = new Uint8Array(5 * FRAME);
  for (let frame = 0; frame < 5; frame++) data.fill(frame, frame * FRAME, (frame + 1) * FRAME);
  const stack = { data, frames: 5, ...SIZE, final: SIZE, normalisation: NORMALISATION };
  const early = new EarlySteps();
  open.push(early);
  const sender = new StepSender(early.port);
  return { early, sender, stack };
}

const isPending = async (answer: Promise<unknown>): Promise<boolean> =>
  (await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 30, 'pending'))])) === 'pending';

afterEach(() => {
  for (const early of open.splice(0)) early.close();
});

test('steps come once all of their frames have, in whatever order those do, and as copies', async () => {
  const { early, sender, stack } = begin();
  const first = early.get(0, 2);
  sender.begin(stack);
  for (const position of [1, 0, 3]) sender.arrived(position);
  expect(await isPending(first)).toBe(true);
  sender.arrived(2);
  const steps = await first;
  expect(steps).toMatchObject({ frames: 4, ...SIZE });
  expect([0, 1, 2, 3].map((frame) => steps!.data[frame * FRAME])).toEqual([0, 1, 2, 3]);
  expect(stack.data.length).toBe(5 * FRAME); // still there
  const last = early.get(2, 3);
  expect(await isPending(last)).toBe(true);
  sender.arrived(4); // the odd last frame is a step of its own
  expect(await last).toMatchObject({ frames: 1 });
});

test('a decoder that starts over or ends gives nothing any more', async () => {
  const over = begin();
  over.sender.begin(over.stack);
  for (let position = 0; position < 5; position++) over.sender.arrived(position);
  expect(await over.early.get(0, 1)).toBeDefined();
  const waiting = begin();
  const asked = waiting.early.get(0, 1);
  over.sender.startOver();
  waiting.sender.close();
  expect(await over.early.get(1, 2)).toBeUndefined();
  expect(await asked).toBeUndefined();
  expect(await waiting.early.get(0, 1)).toBeUndefined();
});

test('closing ends what is asked', async () => {
  const { early } = begin();
  const asked = early.get(0, 1);
  early.close();
  expect(await asked).toBeUndefined();
});
