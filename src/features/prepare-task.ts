// The prepare pool's worker: wires the decoders of media/ to the features made of them. See features/pool.ts.
import { move, transferableSymbol, valueSymbol } from 'piscina';
import { decodeAudio } from '../media/decode-audio.ts';
import { decodeFrames } from '../media/decode-frames.ts';
import { watch } from './cancel-flag.ts';
import type { PrepareTask } from './pool.ts';
import { prepareMedia } from './prepare.ts';
import { replyOf, type TaskReply } from './task-reply.ts';
import type { PreparedMedia } from './types.ts';

/** Frames lie in shared memory already; sound is given away instead of copied. */
function give(reply: TaskReply<PreparedMedia>): unknown {
  const audio = reply.kind === 'done' ? reply.value.audio : undefined;
  const buffers = [audio?.mel.buffer, audio?.waveform?.buffer].filter((buffer) => buffer !== undefined);
  return move({ [transferableSymbol]: buffers, [valueSymbol]: reply });
}

export default async function prepareTask({ plan, options, flag }: PrepareTask): Promise<unknown> {
  const { signal, stop } = watch(flag);
  const reply = await replyOf(() => prepareMedia(plan, options, { frames: decodeFrames, audio: decodeAudio }, signal));
  stop();
  return give(reply);
}
