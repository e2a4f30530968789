import type { Captioner } from '../captioner/captioner.ts';
import { asAvocadoError } from '../base/errors.ts';
import type { CaptionRequest } from '../output/events.ts';
import { oneEnding } from '../output/one-ending.ts';
import { EventBatches } from './event-batches.ts';
import { plainError, type FromEngine } from './messages.ts';

/** The requests alive in the engine process, by the server's number for them. */
export class EngineRequests {
  readonly #captioner: Captioner;
  readonly #send: (message: FromEngine) => void;
  readonly #batches: EventBatches;
  readonly #alive = new Map<number, { readonly controller: AbortController; readonly done: Promise<void> }>();

  constructor(captioner: Captioner, send: (message: FromEngine) => void) {
    this.#captioner = captioner;
    this.#send = send;
    this.#batches = new EventBatches((batches) => {
      send({ type: 'events', batches });
    });
  }

  caption(id: number, request: CaptionRequest): void {
    this.#start(id, async (signal) => {
      for await (const event of oneEnding(this.#captioner.caption(request, signal), signal))
        this.#batches.push(id, event);
    });
  }

  estimate(id: number, request: CaptionRequest): void {
    this.#start(id, async (signal) => {
      try {
        this.#send({ type: 'estimated', id, estimate: await this.#captioner.estimate(request, signal) });
      } catch (thrown) {
        this.#send({ type: 'estimate-failed', id, error: plainError(asAvocadoError(thrown)) });
      }
    });
  }

  /** Nothing happens to one that has ended meanwhile. */
  abort(id: number): void {
    this.#alive.get(id)?.controller.abort();
  }

  /** Resolves when every request has ended. */
  async ended(): Promise<void> {
    await Promise.all([...this.#alive.values()].map(({ done }) => done));
  }

  #start(id: number, work: (signal: AbortSignal) => Promise<void>): void {
    const controller = new AbortController();
    const done = work(controller.signal).finally(() => this.#alive.delete(id));
    this.#alive.set(id, { controller, done });
  }
}
