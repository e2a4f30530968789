import { abortError } from '../base/abort.ts';
import type { EncodeRequest, EncodeResult, EncodeStep } from './encode-request.ts';

/**
 * One encoding shared by every request for the same file (singleflight). It is aborted when its last follower has left.
 */
export class SharedEncoding {
  readonly path: string;
  readonly #steps: EncodeStep[] = [];
  readonly #followers = new Set<(step: EncodeStep) => void>();
  readonly #abandoned = new AbortController();
  readonly #result: Promise<EncodeResult>;
  #following = 0;
  #started = false;
  #ended = false;
  #changed = false;
  #starterLeft = false;

  /** Starts the encoding on the next tick. */
  constructor({ path, encode }: EncodeRequest) {
    this.path = path;
    const { signal } = this.#abandoned;
    const publish = (step: EncodeStep): void => {
      if (step.type === 'decoded') this.#changed = !step.intact;
      this.#steps.push(step);
      for (const follower of this.#followers) follower(step);
    };
    this.#result = Promise.resolve()
      .then(() => {
        signal.throwIfAborted();
        return encode(publish, signal);
      })
      .finally(() => {
        this.#ended = true;
      });
    this.#result.catch(() => undefined); // followers report it; without followers there is no one to tell
  }

  /** finished, failed, or being aborted */
  get over(): boolean {
    return this.#ended || this.#abandoned.signal.aborted;
  }

  /** The file changed while it was read, so the result belongs to no content hash. */
  get changed(): boolean {
    return this.#changed;
  }

  /** The request that started it left before its end, and may have deleted its file. */
  get starterLeft(): boolean {
    return this.#starterLeft;
  }

  /**
   * Waits for the result; `onStep` gets every step from the first. The signal, or an error of
   * `onStep`, removes this follower.
   * @throws what the encoding or `onStep` throws; AvocadoError of the signal
   */
  async follow(onStep: (step: EncodeStep) => void, signal: AbortSignal): Promise<EncodeResult> {
    const isStarter = !this.#started;
    this.#started = true;
    this.#following++;
    let leave: (reason: unknown) => void = () => undefined;
    const left = new Promise<never>((_resolve, reject) => {
      leave = reject;
    });
    left.catch(() => undefined); // it may reject after the result has won the race
    const follower = (step: EncodeStep): void => {
      try {
        onStep(step);
      } catch (thrown) {
        leave(thrown);
      }
    };
    const onAbort = (): void => {
      leave(abortError(signal));
    };
    try {
      if (signal.aborted) throw abortError(signal);
      for (const step of this.#steps) onStep(step);
      signal.addEventListener('abort', onAbort, { once: true });
      this.#followers.add(follower);
      return await Promise.race([left, this.#result]);
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#followers.delete(follower);
      if (isStarter) this.#starterLeft = !this.#ended;
      await this.#leave();
    }
  }

  /** The last follower to leave waits until decoders and runs have stopped. */
  async #leave(): Promise<void> {
    this.#following--;
    if (this.#following > 0) return;
    this.#abandoned.abort();
    await this.#result.catch(() => undefined);
  }
}
