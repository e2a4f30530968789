import { monitorEventLoopDelay } from 'node:perf_hooks';

/** Every so often a timer looks how late it is; a shorter one would cost more than it tells. */
const RESOLUTION_MS = 10;

/** How long this process's event loop was kept from its work. */
export interface EventLoopDelay {
  /** the longest since this was last asked, in seconds */
  maxSeconds(): number;
  close(): void;
}

export function watchEventLoop(): EventLoopDelay {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  histogram.enable();
  return {
    maxSeconds: () => {
      const nanoseconds = histogram.count === 0 ? 0 : histogram.max;
      histogram.reset();
      // What it records is the time between two looks, which is the resolution where nothing was late.
      return Math.max(0, nanoseconds / 1e9 - RESOLUTION_MS / 1000);
    },
    close: () => {
      histogram.disable();
    },
  };
}
