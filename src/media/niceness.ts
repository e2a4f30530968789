// How much of the processor the work on a file gets beside the model and other files. The niceness of a decoder grows
// with the time it has used, so that a heavy file takes what the others leave.
import type { ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';

/** Most files take a fifth of the first. Each step is a third of the weight of the one before; the model has 5. */
const STEPS = [
  { afterSeconds: 1, niceness: 10 },
  { afterSeconds: 4, niceness: 15 },
] as const;
const LOOK_MS = 500;

/** Of a process or a thread that has used the processor for so long; the one that it has anyway may be higher. */
export function nicenessAfter(seconds: number, own: number): number {
  const reached = STEPS.filter(({ afterSeconds }) => seconds >= afterSeconds).map(({ niceness }) => niceness);
  return Math.max(own, ...reached);
}

/** On Linux a priority belongs to a thread. Elsewhere there are no numbers to read, and none to lower it by. */
const isLinux = process.platform === 'linux';

/** For work that is known to be heavy: the lowest step, for this thread and the processes that it starts. */
export function yieldThread(): void {
  // Elsewhere 0 is the whole process, and with it the model.
  if (isLinux) setPriority(0, nicenessAfter(Infinity, getPriority(0)));
}

/** A process that is watched. */
export interface Yielding {
  /** its niceness has grown, which cannot be undone */
  readonly hasYielded: boolean;
  stop(): void;
}

/** Raises the niceness of a child by what it uses from now on, until it is told to stop. */
export function yieldOverTime({ pid }: Pick<ChildProcess, 'pid'>): Yielding {
  const state = { hasYielded: false, stop: (): void => undefined };
  if (pid === undefined || !isLinux) return state;
  let before: number | undefined;
  const look = (): void => {
    try {
      const used = processorSeconds(readFileSync(`/proc/${pid}/stat`, 'utf8'));
      before ??= used;
      const own = getPriority(pid);
      const niceness = nicenessAfter(used - before, own);
      if (niceness === own) return;
      state.hasYielded = true;
      // Those that it starts later inherit it.
      for (const thread of readdirSync(`/proc/${pid}/task`)) setPriority(Number(thread), niceness);
    } catch {
      // It, or one of its threads, has just ended.
    }
  };
  look();
  const timer = setInterval(look, LOOK_MS).unref();
  state.stop = () => {
    clearInterval(timer);
  };
  return state;
}

/** Linux counts in hundredths of a second, whatever the kernel's own clock. */
const TICKS_PER_SECOND = 100;

/** What all threads of a process have used, from its /proc/…/stat. The name may hold spaces and brackets. */
export function processorSeconds(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}
