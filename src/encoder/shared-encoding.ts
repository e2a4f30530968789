import { EventEmitter, on } from 'node:events';
import type { MediaStep } from './encoded-media.ts';

/** One preparation of a clip, for everybody who waits for that clip. It is given up when the last of them has left. */
export class MediaFlight {
  readonly #steps: MediaStep[] = [];
  readonly #changes = new EventEmitter();
  readonly #abandoned = new AbortController();
  readonly #result: Promise<void>;
  #waiting = 0;
  #ended = false;

  /** @param work begins in a moment, tells its steps, the last of which is `encoded`, or throws */
  constructor(work: (onStep: (step: MediaStep) => void, signal: AbortSignal) => Promise<void>) {
    this.#changes.setMaxListeners(0);
    const tell = (step: MediaStep): void => {
      this.#steps.push(step);
      this.#changes.emit('change');
    };
    this.#result = Promise.resolve()
      .then(() => {
        this.#abandoned.signal.throwIfAborted();
        return work(tell, this.#abandoned.signal);
      })
      .finally(() => {
        this.#ended = true;
        this.#changes.emit('change');
      });
    this.#result.catch(() => undefined); // told to whoever follows; when all have left, to nobody
  }

  /** done or failed */
  get ended(): boolean {
    return this.#ended;
  }

  /** Done, failed, or being stopped because nobody waits for it any more. */
  get over(): boolean {
    return this.#ended || this.#abandoned.signal.aborted;
  }

  /**
   * All steps from the first, as they come. Leaving the iteration, or the signal, takes this one reader out.
   * @throws what the work throws, or AbortError
   */
  async *follow(signal: AbortSignal): AsyncGenerator<MediaStep> {
    this.#waiting++;
    let changes: NodeJS.AsyncIterator<unknown> | undefined;
    try {
      changes = on(this.#changes, 'change', { signal });
      for (let next = 0; ;) {
        const step = this.#steps[next];
        if (step !== undefined) {
          next++;
          yield step;
        } else if (this.#ended) break;
        else await changes.next();
      }
      await this.#result;
    } finally {
      this.#waiting--;
      if (this.#waiting === 0) this.#abandoned.abort();
      await changes?.return?.();
      // The last one to leave sees to it that decoders and runs are gone.
      if (this.#waiting === 0) await this.#result.catch(() => undefined);
    }
  }
}
