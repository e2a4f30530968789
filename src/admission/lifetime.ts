import { AvocadoError } from '../base/errors.ts';
import type { RequestStage } from './types.ts';

const DOING: Readonly<Record<RequestStage, string>> = {
  receive: 'still being received',
  fetch: 'fetching its file',
  probe: "reading its file's headers, or waiting for the engine to start",
  queued: 'waiting for its turn',
  decode: 'decoding its file',
  encode: 'encoding its file',
  prefill: 'reading its prompt',
  generate: 'writing its caption',
};

/** What setTimeout can count. */
const MOST_TIMER_MS = 2 ** 31 - 1;

/** One request from being let in to its end: where it is, how long it may take, and why it was given up, if it was. */
export class Lifetime {
  readonly id: string;
  /** who asked, where keys tell */
  readonly owner: string | undefined;
  /** by performance.now() */
  readonly startedMs = performance.now();
  stage: RequestStage = 'receive';
  readonly #controller = new AbortController();
  readonly #mostSeconds: number;
  #timer: NodeJS.Timeout | undefined;
  #abortedIn: RequestStage | undefined;
  #done = false;

  /** @param mostSeconds the deadline until another is set, and the latest that can be */
  constructor(id: string, mostSeconds: number, owner?: string) {
    this.id = id;
    this.owner = owner;
    this.#mostSeconds = mostSeconds;
    this.#startTimer(mostSeconds);
  }

  /** Its reason is an AvocadoError. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get elapsedSeconds(): number {
    return (performance.now() - this.startedMs) / 1000;
  }

  get done(): boolean {
    return this.#done;
  }

  /** the stage in which it was given up, if it was */
  get abortedIn(): RequestStage | undefined {
    return this.#abortedIn;
  }

  /** Counted from the start, whatever has passed since. */
  setDeadline(seconds: number | undefined): void {
    if (!this.#done && !this.signal.aborted) this.#startTimer(Math.min(seconds ?? Infinity, this.#mostSeconds));
  }

  /** Only the first reason counts; and none that comes after the answer. */
  abort(reason: AvocadoError): void {
    if (this.#done || this.signal.aborted) return;
    this.#abortedIn = this.stage;
    this.#controller.abort(reason);
  }

  /** It has its answer, and no work is left of it. */
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
    const late = (): void => {
      const advice =
        seconds < this.#mostSeconds
          ? `Give it more time (at most ${this.#mostSeconds} s), or ask for less`
          : 'Ask for less';
      this.abort(
        new AvocadoError(
          'deadline_exceeded',
          `The request was not done after ${seconds} s: it was ${DOING[this.stage]}. ${advice}: a shorter clip, fewer frames, a shorter caption.`,
        ),
      );
    };
    this.#timer = setTimeout(late, Math.min(MOST_TIMER_MS, Math.max(0, (seconds - this.elapsedSeconds) * 1000)));
  }
}
