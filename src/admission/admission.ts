import { AvocadoError } from '../base/errors.ts';
import type { Priority } from '../base/priority-turns.ts';
import type { Captioner } from '../captioner/captioner.ts';
import { AdmissionQueue } from './queue.ts';
import { AdmittedRequest, RequestLifecycle, type RequestParts } from './request.ts';
import type { AdmissionObserver, RequestStage } from './types.ts';
import { WorkModel } from './work-model.ts';

export interface AdmissionSettings {
  /** most admitted requests; default: eight for every slot of the KV cache */
  readonly maxRequests?: number | undefined;
  /** most estimated seconds of work waiting or running; a request alone is never too much */
  readonly maxQueueSeconds: number;
  /** requests started beyond the engine's slots, so that their media are ready when a slot is free */
  readonly prepareAhead: number;
  /** longest deadline of a request, and its default */
  readonly maxTimeoutSeconds: number;
}

export interface AdmissionStats {
  /** admitted requests */
  readonly alive: number;
  readonly stopping: boolean;
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
  readonly #active = new Set<RequestLifecycle>();
  #stopping = false;
  #onIdle: (() => void) | undefined;

  constructor(captioner: Captioner, settings: AdmissionSettings, observer: AdmissionObserver) {
    const { slots } = captioner.model;
    const model = new WorkModel();
    const limits = {
      maxRequests: settings.maxRequests ?? slots * REQUESTS_PER_SLOT,
      maxWorkSeconds: settings.maxQueueSeconds,
      maxRunning: slots + settings.prepareAhead,
    };
    const queue = new AdmissionQueue(limits, model, (reason) => {
      observer.rejected(reason);
    });
    this.#settings = settings;
    this.#parts = { captioner, observer, queue, model };
  }

  /**
   * Call before a byte of the body is read.
   * @param owner the key that sent the request, where there are keys
   * @throws AvocadoError `queue_full` (with `retryAfterSeconds`), `engine_unavailable`
   */
  admit(id: string, owner?: string): AdmittedRequest {
    const { captioner, observer, queue } = this.#parts;
    if (this.#stopping || captioner.status().state === 'stopped') {
      observer.rejected('stopping');
      throw stopping();
    }
    const ticket = queue.admit();
    const lifecycle = new RequestLifecycle(id, this.#settings.maxTimeoutSeconds, owner);
    this.#active.add(lifecycle);
    return new AdmittedRequest(lifecycle, ticket, this.#parts, () => {
      this.#active.delete(lifecycle);
      if (this.#active.size === 0) this.#onIdle?.();
    });
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
      full,
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
