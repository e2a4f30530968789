import type { Captioner } from '../captioner/captioner.ts';
import { AvocadoError } from '../base/errors.ts';
import { AdmissionQueue } from './admission-queue.ts';
import { AdmittedRequest } from './admitted-request.ts';
import type { StoryParts } from './caption-story.ts';
import { Lifetime } from './lifetime.ts';
import type { Admitted, CaptionService, RequestStage, Refusal, ServiceStats, ServingObserver } from './types.ts';
import { WorkModel } from './work-model.ts';

export interface ServingLimits {
  /** most requests alive at a time; default: eight for every slot of the KV cache */
  readonly maxRequests?: number | undefined;
  /** most estimated seconds of work that may be waiting or running; a request alone is never too much */
  readonly maxQueueSeconds: number;
  /** requests handed to the engine beyond its slots, so that their media are ready when a slot is free */
  readonly prepareAhead: number;
  /** longest deadline of a request, and the one it has when it names none */
  readonly maxTimeoutSeconds: number;
}

export interface ServiceParts {
  readonly captioner: Captioner;
  readonly limits: ServingLimits;
  readonly observer: ServingObserver;
}

/** Requests alive for each that can run: the others wait, with their files fetched. */
const REQUESTS_PER_SLOT = 8;

/** One captioner's requests: who is let in, who goes next, who is given up. */
export function serveCaptions({ captioner, limits, observer }: ServiceParts): CaptionService {
  return new Service(captioner, limits, observer);
}

class Service implements CaptionService {
  readonly #parts: StoryParts;
  readonly #limits: ServingLimits;
  readonly #alive = new Set<Lifetime>();
  #stopping = false;
  #whenIdle: (() => void) | undefined;

  constructor(captioner: Captioner, limits: ServingLimits, observer: ServingObserver) {
    const { slots } = captioner.model;
    const model = new WorkModel();
    const maxRequests = limits.maxRequests ?? slots * REQUESTS_PER_SLOT;
    const refused = (reason: Refusal): void => {
      observer.rejected(reason);
    };
    const queue = new AdmissionQueue(
      { maxRequests, maxWorkSeconds: limits.maxQueueSeconds, turns: slots + limits.prepareAhead },
      model,
      refused,
    );
    this.#limits = limits;
    this.#parts = { captioner, observer, queue, model };
  }

  admit(id: string, owner?: string): Admitted {
    const { captioner, observer, queue } = this.#parts;
    if (this.#stopping || captioner.status().state === 'stopped') {
      observer.rejected('stopping');
      throw new AvocadoError('engine_unavailable', 'The server is stopping. Send the request again.');
    }
    const ticket = queue.enter();
    const life = new Lifetime(id, this.#limits.maxTimeoutSeconds, owner);
    this.#alive.add(life);
    return new AdmittedRequest(life, ticket, this.#parts, () => {
      this.#forget(life);
    });
  }

  cancel(id: string, owner?: string): boolean {
    const found = [...this.#alive].filter((life) => life.id === id && life.owner === owner);
    for (const life of found) life.abort(new AvocadoError('aborted', 'The request was cancelled.'));
    return found.length > 0;
  }

  async stop(drainMs: number): Promise<void> {
    this.#stopping = true;
    if (this.#alive.size === 0) return;
    const idle = new Promise<void>((resolve) => {
      this.#whenIdle = resolve;
    });
    const deadline = setTimeout(() => {
      for (const life of this.#alive)
        life.abort(new AvocadoError('engine_unavailable', 'The server is stopping. Send the request again.'));
    }, drainMs);
    await idle;
    clearTimeout(deadline);
  }

  stats(): ServiceStats {
    const { waiting, workSeconds, tokens, full } = this.#parts.queue;
    const byStage: Partial<Record<RequestStage, number>> = {};
    for (const { stage } of this.#alive) byStage[stage] = (byStage[stage] ?? 0) + 1;
    return {
      alive: this.#alive.size,
      stopping: this.#stopping,
      full,
      waiting,
      queueWorkSeconds: workSeconds,
      queueTokens: tokens,
      byStage,
    };
  }

  #forget(life: Lifetime): void {
    this.#alive.delete(life);
    if (this.#alive.size === 0) this.#whenIdle?.();
  }
}
