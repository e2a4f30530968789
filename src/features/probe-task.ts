// Worker entry: reads the headers of files. Started by pool.ts.
import { probeMedia } from '../media/probe.ts';
import type { MediaProbe } from '../media/types.ts';
import { beginTask, replyOf, type ProbeTask, type TaskReply } from './task-protocol.ts';

export default async function probeTask(task: ProbeTask): Promise<TaskReply<MediaProbe>> {
  const { path, options } = task;
  const { signal, stop } = beginTask(task);
  const reply = await replyOf(() => probeMedia(path, { ...options, signal }));
  stop();
  return reply;
}
