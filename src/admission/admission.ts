import { AvocadoError } from '../base/errors.ts';
import type { Priority } from '../base/priority-turns.ts';
import type { Captioner } from '../captioner/captioner.ts';
import { RequestLifecycle } from './lifecycle.ts';
import { PlanningTurns } from './planning.ts';
import { AdmissionQueue } from './queue.ts';
import { Receiving, type Arrival } from './receiving.ts';
import { AdmittedRequest, type RequestParts } from './request.ts';
import type { AdmissionObserver, RequestStage } from './types.ts';
import { WorkModel } from './work-model.ts';

export interface AdmissionSettings {
  /** most admitted requests; default: eight for every slot of the KV cache */
  readonly maxRequests?: number | undefined;
  /** most requests whose bodies arrive at the same time */
  readonly maxReceiving: number;
  /** most estimated seconds of work waiting or running; a request alone is never too much */
  readonly maxQueueSeconds: number;
  /** requests started beyond the slots of each engine, so that their media are ready when a slot is free */
  readonly prepareAhead: number;
  /** longest deadline of a request, and its default */
  readonly maxTimeoutSeconds: number;
}

/** Who sends a request, as far as that matters here. */
export interface Sender {
  /** the key, where there are keys */
  readonly owner?: string | undefined;
  /** the key, or else the address: one of them may not hold all places of bodies that arrive, nor all processors */
  readonly name?: string;
  /** for how long its body has been slower than it must be */
  readonly behindMs?: () => number;
  /** its deadline, where it is known before the body */
  readonly timeoutSeconds?: number | undefined;
  /** work of the server itself, which limits it: it is not refused, and takes no place from a client */
  readonly background?: boolean;
  /** called with each stage that the request comes to */
  readonly onStage?: (stage: RequestStage) => void;
  /** of W3C Trace Context, for the download of its file */
  readonly traceparent?: string | undefined;
}

export interface AdmissionStats {
  /** admitted requests, those still being received included */
  readonly alive: number;
  readonly stopping: boolean;
  /** of performance.now(), when a client's request was admitted last; -Infinity before the first */
  readonly clientMs: number;
  /** the next request would be refused */
  readonly full: boolean;
  readonly waiting: Readonly<Record<Priority, number>>;
  /** estimated seconds of work not done yet, and its tokens */
  readonly queueWorkSeconds: number;
  readonly queueTokens: number;
  readonly byStage: Readonly<Partial<Record<RequestStage, number>>>;
}

/** Admitted requests per slot: those that wait have their files fetched. */
const REQUESTS_PER_SLOT = 8;

/** Decides which requests one captioner takes, and in which order they start. */
export class Admission {
  readonly #parts: RequestParts;
  readonly #settings: AdmissionSettings;
  readonly #receiving: Receiving;
  readonly #active = new Set<RequestLifecycle>();
  #stopping = false;
  #clientMs = -Infinity;
  #onIdle: (() => void) | undefined;

  constructor(captioner: Captioner, settings: AdmissionSettings, observer: AdmissionObserver) {
    const { slots } = captioner.model;
    const engines = captioner.status().engines?.length ?? 1;
    const model = new WorkModel();
    const limits = {
      maxRequests: settings.maxRequests ?? slots * REQUESTS_PER_SLOT,
      maxWorkSeconds: settings.maxQueueSeconds,
      maxRunning: slots + engines * settings.prepareAhead,
    };
    const queue = new AdmissionQueue(limits, model, (reason) => {
      observer.rejected(reason);
    });
    this.#settings = settings;
    this.#receiving = new Receiving(settings.maxReceiving, () => {
      observer.rejected('receiving');
    });
    this.#parts = { captioner, observer, queue, model, planning: new PlanningTurns() };
  }

  /**
   * Call before a byte of the body is read. The request counts as one being received until its work begins: a client
   * that sends nothing must not take the place of one that has sent everything.
   * @throws AvocadoError `queue_full` (with `retryAfterSeconds`), `engine_unavailable`
   */
  admit(
    id: string,
    { owner, name, behindMs = () => 0, timeoutSeconds, background = false, onStage, traceparent }: Sender = {},
  ): AdmittedRequest {
    const { captioner, observer, queue } = this.#parts;
    if (this.#stopping || captioner.status().state === 'stopped') {
      observer.rejected('stopping');
      throw stopping();
    }
    if (!background) {
      queue.check(name);
      this.#clientMs = performance.now();
    }
    // Nobody waits for work of the server itself: a film takes hours.
    const mostSeconds = background ? Infinity : this.#settings.maxTimeoutSeconds;
    const lifecycle = new RequestLifecycle(id, mostSeconds, { owner, sender: name, onStage });
    lifecycle.setDeadline(timeoutSeconds);
    const arrival = {
      sender: name ?? '',
      behindMs,
      drop: (reason: AvocadoError) => {
        lifecycle.abort(reason);
      },
    };
    try {
      if (!background) this.#receiving.enter(arrival);
    } catch (thrown) {
      lifecycle.end();
      throw thrown;
    }
    const received = (): void => {
      this.#receiving.leave(arrival);
    };
    lifecycle.signal.addEventListener('abort', received, { once: true });
    this.#active.add(lifecycle);
    return new AdmittedRequest(lifecycle, this.#parts, {
      background,
      received,
      traceparent,
      ended: () => {
        this.#active.delete(lifecycle);
        if (this.#active.size === 0) this.#onIdle?.();
      },
    });
  }

  /**
   * A body of a request that does not caption. It has a place among the others, for they share the memory of bodies.
   * @returns frees the place; called any number of times @throws AvocadoError `queue_full`
   */
  receive(arrival: Arrival): () => void {
    this.#receiving.enter(arrival);
    return () => {
      this.#receiving.leave(arrival);
    };
  }

  /** @returns false when the owner has no active request of that id */
  cancel(id: string, owner?: string): boolean {
    const found = [...this.#active].filter((lifecycle) => lifecycle.id === id && lifecycle.owner === owner);
    for (const lifecycle of found) lifecycle.abort(new AvocadoError('aborted', 'The request was cancelled.'));
    return found.length > 0;
  }

  /** Admits nothing new, lets active requests end for `drainMs`, aborts the rest; resolves when all have ended. */
  async stop(drainMs: number): Promise<void> {
    this.#stopping = true;
    if (this.#active.size === 0) return;
    const idle = new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
    const deadline = setTimeout(() => {
      for (const lifecycle of this.#active) lifecycle.abort(stopping());
    }, drainMs);
    await idle;
    clearTimeout(deadline);
  }

  stats(): AdmissionStats {
    const { waiting, workSeconds, tokens, full } = this.#parts.queue;
    const byStage: Partial<Record<RequestStage, number>> = {};
    for (const { stage } of this.#active) byStage[stage] = (byStage[stage] ?? 0) + 1;
    return {
      alive: this.#active.size,
      stopping: this.#stopping,
      clientMs: this.#clientMs,
      full: full || this.#receiving.full,
      waiting,
      queueWorkSeconds: workSeconds,
      queueTokens: tokens,
      byStage,
    };
  }
}

function stopping(): AvocadoError {
  return new AvocadoError('engine_unavailable', 'The server is stopping. Send the request again.');
}
