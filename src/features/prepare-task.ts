// Worker entry: decodes a file with the decoders of media/ and makes its features. Started by pool.ts.
import { move, transferableSymbol, valueSymbol } from 'piscina';
import { decodeAudio } from '../media/decode-audio.ts';
import { decodeFrames } from '../media/decode-frames.ts';
import { yieldThread } from '../media/niceness.ts';
import { StepSender } from './early-steps.ts';
import { HoldReceiver } from './hold.ts';
import { prepareFeatures, type Decoders } from './prepare.ts';
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
  const { plan, heavy, options } = task;
  if (heavy) yieldThread();
  const hold = task.hold && new HoldReceiver(task.hold);
  const early = task.early && new StepSender(task.early);
  const { signal, stop } = beginTask(task);
  const decoders: Decoders = {
    frames: (video, onFrame, run) => decodeFrames(video, onFrame, { ...run, hold }),
    audio: (sound, run) => decodeAudio(sound, { ...run, hold }),
  };
  const reply = await replyOf(() => prepareFeatures(plan, { ...options, resizesHere: heavy, early }, decoders, signal));
  stop();
  early?.close();
  hold?.close();
  return transfer(reply);
}
