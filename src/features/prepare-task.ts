// Worker entry: decodes a file with the decoders of media/ and makes its features. Started by pool.ts.
import { move, transferableSymbol, valueSymbol } from 'piscina';
import { decodeAudio } from '../media/decode-audio.ts';
import { decodeFrames } from '../media/decode-frames.ts';
import { yieldThread } from '../media/niceness.ts';
import { followHold } from './hold.ts';
import { prepareFeatures } from './prepare.ts';
import { beginTask, replyOf, type PrepareTask, type TaskReply } from './task-protocol.ts';
import type { PreparedMedia } from './types.ts';

/** Frames and audio are transferred instead of copied. */
function transfer(reply: TaskReply<PreparedMedia>): unknown {
  const { frames, audio }: Partial<PreparedMedia> = reply.kind === 'done' ? reply.value : {};
  const arrays = [frames?.data, audio?.mel, audio?.waveform];
  const buffers = arrays.flatMap((array) => array?.buffer ?? []);
  return move({ [transferableSymbol]: buffers, [valueSymbol]: reply });
}

export default async function prepareTask(task: PrepareTask): Promise<unknown> {
  const { plan, heavy, hold, options } = task;
  if (heavy) yieldThread();
  const letGo = hold && followHold(hold);
  const { signal, stop } = beginTask(task);
  const decoders = { frames: decodeFrames, audio: decodeAudio };
  const reply = await replyOf(() => prepareFeatures(plan, options, decoders, signal));
  stop();
  letGo?.();
  return transfer(reply);
}
