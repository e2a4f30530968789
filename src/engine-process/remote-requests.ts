import type { Estimate } from '../captioner/captioner.ts';
import { AvocadoError } from '../base/errors.ts';
import type { CaptionEvent, CaptionRequest } from '../output/events.ts';
import { isEnding } from '../output/one-ending.ts';
import { EventQueue } from './event-queue.ts';
import { thrownError, type FromEngine, type ToEngine } from './messages.ts';

type Reply = Extract<FromEngine, { type: 'events' | 'estimated' | 'estimate-failed' }>;

interface Asked {
  readonly resolve: (estimate: Estimate) => void;
  readonly reject: (error: AvocadoError) => void;
}

export function cancelled(signal: AbortSignal | undefined): AvocadoError {
  return new AvocadoError('aborted', 'The request was cancelled.', { cause: signal?.reason });
}

/** The server's side of the requests in one engine process. When that is gone, every one of them still ends. */
export class RemoteRequests {
  readonly #send: (message: ToEngine) => void;
  readonly #captions = new Map<number, EventQueue>();
  readonly #estimates = new Map<number, Asked>();
  #nextId = 0;
  #gone: AvocadoError | undefined;

  constructor(send: (message: ToEngine) => void) {
    this.#send = send;
  }

  /** Streams events with exactly one ending. Aborting or leaving the iteration aborts it in the engine process too. */
  async *caption(request: CaptionRequest, signal?: AbortSignal): AsyncGenerator<CaptionEvent> {
    const id = this.#nextId++;
    const queue = new EventQueue();
    const state = { aborted: false };
    const abort = (): void => {
      if (!this.#captions.has(id)) return; // its ending is here already
      state.aborted = true;
      queue.clear();
      this.#send({ type: 'abort', id });
    };
    if (signal?.aborted === true) {
      yield { type: 'caption-aborted' };
      return;
    }
    this.#captions.set(id, queue);
    signal?.addEventListener('abort', abort, { once: true });
    if (this.#gone !== undefined) this.#endCaption(id, this.#gone);
    else this.#send({ type: 'caption', id, request });
    try {
      for (;;) {
        const event = await queue.next();
        const ending = isEnding(event);
        if (!state.aborted) yield event;
        else if (ending) yield { type: 'caption-aborted' };
        if (ending) return;
      }
    } finally {
      signal?.removeEventListener('abort', abort);
      if (this.#captions.delete(id)) this.#send({ type: 'abort', id });
    }
  }

  /** @throws AvocadoError as Captioner.estimate */
  async estimate(request: CaptionRequest, signal?: AbortSignal): Promise<Estimate> {
    if (this.#gone !== undefined) throw this.#gone;
    if (signal?.aborted === true) throw cancelled(signal);
    const id = this.#nextId++;
    const leave = (): void => {
      this.#send({ type: 'abort', id });
      this.#estimates.get(id)?.reject(cancelled(signal));
    };
    try {
      return await new Promise<Estimate>((resolve, reject) => {
        this.#estimates.set(id, { resolve, reject });
        signal?.addEventListener('abort', leave, { once: true });
        this.#send({ type: 'estimate', id, request });
      });
    } finally {
      signal?.removeEventListener('abort', leave);
      this.#estimates.delete(id);
    }
  }

  /** Replies to what has ended here meanwhile are dropped. */
  take(reply: Reply): void {
    if (reply.type === 'estimated') this.#estimates.get(reply.id)?.resolve(reply.estimate);
    else if (reply.type === 'estimate-failed') this.#estimates.get(reply.id)?.reject(thrownError(reply.error));
    else for (const { id, events } of reply.batches) this.#deliver(id, events);
  }

  /** The process has gone: ends what runs, and whatever comes yet. */
  end(error: AvocadoError): void {
    this.#gone ??= error;
    for (const id of [...this.#captions.keys()]) this.#endCaption(id, this.#gone);
    for (const { reject } of this.#estimates.values()) reject(this.#gone);
  }

  #endCaption(id: number, { code, message }: AvocadoError): void {
    this.#deliver(id, [{ type: 'caption-error', code, message }]);
  }

  #deliver(id: number, events: readonly CaptionEvent[]): void {
    const queue = this.#captions.get(id);
    if (queue === undefined) return;
    const last = events.at(-1);
    if (last !== undefined && isEnding(last)) this.#captions.delete(id);
    queue.push(events);
  }
}
