import { AvocadoError } from '../base/errors.ts';
import type { RequestStage } from './types.ts';

const DOING: Readonly<Record<RequestStage, string>> = {
  receive: 'still being received',
  fetch: 'fetching its file',
  probe: "reading its file's headers, or waiting for its turn or for the engine to start",
  queued: 'waiting in the queue',
  decode: 'decoding its file',
  encode: 'encoding its file',
  prefill: 'reading its prompt',
  generate: 'writing its caption',
  merge: 'waiting for the text model that merges its segments',
};

/** setTimeout's longest delay. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

interface LifecycleOptions {
  readonly owner?: string | undefined;
  readonly sender?: string | undefined;
  /** called with each stage, the first included */
  readonly onStage?: ((stage: RequestStage) => void) | undefined;
}

/** The clock of a request: its stage, its deadline, and why it was aborted. */
export class RequestLifecycle {
  readonly id: string;
  /** the key that sent it, where there are keys */
  readonly owner: string | undefined;
  /** the key, or else the address */
  readonly sender: string | undefined;
  /** by performance.now() */
  readonly startedMs = performance.now();
  #stage: RequestStage = 'receive';
  readonly #onStage: ((stage: RequestStage) => void) | undefined;
  readonly #controller = new AbortController();
  readonly #maxSeconds: number;
  #timer: NodeJS.Timeout | undefined;
  #abortedIn: RequestStage | undefined;
  #done = false;

  /** @param maxSeconds the deadline until another is set, and the latest that can be; Infinity: none */
  constructor(id: string, maxSeconds: number, { owner, sender, onStage }: LifecycleOptions = {}) {
    this.id = id;
    this.owner = owner;
    this.sender = sender;
    this.#onStage = onStage;
    onStage?.(this.#stage);
    this.#maxSeconds = maxSeconds;
    this.#startTimer(maxSeconds);
  }

  get stage(): RequestStage {
    return this.#stage;
  }

  set stage(stage: RequestStage) {
    if (stage === this.#stage) return;
    this.#stage = stage;
    this.#onStage?.(stage);
  }

  /** Its reason is an AvocadoError. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get elapsedSeconds(): number {
    return (performance.now() - this.startedMs) / 1000;
  }

  /** the stage in which it was aborted, if it was */
  get abortedIn(): RequestStage | undefined {
    return this.#abortedIn;
  }

  /** Counted from the start, however much time has passed. */
  setDeadline(seconds: number | undefined): void {
    if (!this.#done && !this.signal.aborted) this.#startTimer(Math.min(seconds ?? Infinity, this.#maxSeconds));
  }

  /** Only the first reason counts, and none after finish(). */
  abort(reason: AvocadoError): void {
    if (this.#done || this.signal.aborted) return;
    this.#abortedIn = this.stage;
    this.#controller.abort(reason);
  }

  /** It has its answer, and no work is left. */
  finish(): void {
    this.#done = true;
    this.#abortedIn = undefined;
    clearTimeout(this.#timer);
  }

  end(): void {
    clearTimeout(this.#timer);
  }

  #startTimer(seconds: number): void {
    clearTimeout(this.#timer);
    if (seconds === Infinity) return;
    const late = (): void => {
      const most = this.#maxSeconds === Infinity ? '' : ` (at most ${this.#maxSeconds} s)`;
      const advice = seconds < this.#maxSeconds ? `Give it more time${most}, or ask for less` : 'Ask for less';
      const what = `The request was not done after ${seconds} s: it was ${DOING[this.stage]}.`;
      const less = 'a shorter clip, fewer frames, a shorter caption.';
      this.abort(new AvocadoError('deadline_exceeded', `${what} ${advice}: ${less}`));
    };
    this.#timer = setTimeout(late, Math.min(LONGEST_TIMER_MS, Math.max(0, (seconds - this.elapsedSeconds) * 1000)));
  }
}
