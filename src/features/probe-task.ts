// Worker entry: reads the headers of files. Started by pool.ts.
import { probeMedia } from '../media/probe.ts';
import type { MediaProbe } from '../media/types.ts';
import { replyOf, watchFlag, type ProbeTask, type TaskReply } from './task-protocol.ts';

export default async function probeTask({ path, options, flag }: ProbeTask): Promise<TaskReply<MediaProbe>> {
  const { signal, stop } = watchFlag(flag);
  const reply = await replyOf(() => probeMedia(path, { ...options, signal }));
  stop();
  return reply;
}
