// What batch work decodes is stopped while a client waits: the pool tells its threads, and each stops its decoders.
import { randomUUID } from 'node:crypto';
import { BroadcastChannel } from 'node:worker_threads';
import type { Foreground } from '../base/foreground.ts';
import { holdProcesses } from '../media/ffmpeg-process.ts';

/** Crosses to the worker threads: the state, and the name of the channel that says that it has changed. */
export interface HoldState {
  readonly flag: Int32Array<SharedArrayBuffer>;
  readonly channel: string;
}

const HELD = 1;

/** The pool's end. */
export class Hold {
  readonly state: HoldState = {
    flag: new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)),
    channel: `avocado hold ${randomUUID()}`,
  };
  readonly #channel = new BroadcastChannel(this.state.channel);
  readonly #unfollow: (() => void) | undefined;

  /** @param foreground undefined: nothing is ever held */
  constructor(foreground: Foreground | undefined) {
    this.#channel.unref();
    this.#unfollow = foreground?.onChange((isHeld) => {
      Atomics.store(this.state.flag, 0, isHeld ? HELD : 0);
      this.#channel.postMessage('changed');
    });
  }

  /** To be called when no thread follows it any more. */
  close(): void {
    this.#unfollow?.();
    this.#channel.close();
  }
}

/** The thread's end: from now on its decoders follow the state. @returns lets them go on, and ends that */
export function followHold({ flag, channel }: HoldState): () => void {
  const follow = (): void => {
    holdProcesses(Atomics.load(flag, 0) === HELD);
  };
  const changes = new BroadcastChannel(channel);
  changes.onmessage = follow;
  follow();
  return () => {
    changes.close();
    holdProcesses(false);
  };
}
