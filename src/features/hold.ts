// What batch work decodes is stopped while a client waits: the pool signals its threads, and each stops its decoders.
import { randomUUID } from 'node:crypto';
import { BroadcastChannel } from 'node:worker_threads';
import type { Hold } from '../base/foreground.ts';

/** Crosses to the worker threads: the state, and the name of the channel that says that it has changed. */
export interface HoldState {
  readonly flag: Int32Array<SharedArrayBuffer>;
  readonly channel: string;
}

const HELD = 1;

/** The pool's end. */
export class HoldSender {
  readonly state: HoldState = {
    flag: new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)),
    channel: `avocado hold ${randomUUID()}`,
  };
  readonly #channel = new BroadcastChannel(this.state.channel);
  readonly #unfollow: (() => void) | undefined;

  /** @param hold undefined: nothing is ever held */
  constructor(hold: Hold | undefined) {
    this.#channel.unref();
    this.#unfollow = hold?.onChange((isHeld) => {
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

/** The thread's end. */
export class HoldReceiver implements Hold {
  readonly #flag: HoldState['flag'];
  readonly #changes: BroadcastChannel;
  readonly #listeners = new Set<(isHeld: boolean) => void>();

  constructor({ flag, channel }: HoldState) {
    this.#flag = flag;
    this.#changes = new BroadcastChannel(channel);
    this.#changes.onmessage = () => {
      for (const listener of this.#listeners) listener(this.isHeld);
    };
  }

  get isHeld(): boolean {
    return Atomics.load(this.#flag, 0) === HELD;
  }

  onChange(listener: (isHeld: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Listeners are no longer called. */
  close(): void {
    this.#changes.close();
  }
}
