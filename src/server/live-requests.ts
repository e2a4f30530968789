import { AvocadoError } from '../errors.ts';

export interface LiveRequest {
  readonly signal: AbortSignal;
  abort(): void;
  end(): void;
}

/** The requests being answered, so that a stop can wait for them and, in the end, abort them. */
export class LiveRequests {
  readonly #most: number;
  readonly #controllers = new Set<AbortController>();
  #stopping = false;
  #whenIdle: (() => void) | undefined;

  /** @param most requests alive at a time: each may hold an upload, decoded frames and embeddings */
  constructor(most: number) {
    this.#most = most;
  }

  get count(): number {
    return this.#controllers.size;
  }

  get stopping(): boolean {
    return this.#stopping;
  }

  /** @throws AvocadoError `engine_unavailable` once a stop was asked for, `queue_full` */
  begin(): LiveRequest {
    if (this.#stopping) throw new AvocadoError('engine_unavailable', 'The server is stopping. Send the request again.');
    if (this.count >= this.#most) throw new AvocadoError('queue_full', `The server is busy with ${this.count} captions, and takes no more. Send the request again in a while.`);
    const controller = new AbortController();
    this.#controllers.add(controller);
    return {
      signal: controller.signal,
      abort: () => {
        controller.abort();
      },
      end: () => {
        this.#controllers.delete(controller);
        if (this.#controllers.size === 0) this.#whenIdle?.();
      },
    };
  }

  /** Takes nothing new, lets what runs go on for `drainMs`, then aborts it; returns when all have ended. */
  async stop(drainMs: number): Promise<void> {
    this.#stopping = true;
    if (this.#controllers.size === 0) return;
    const idle = new Promise<void>((resolve) => {
      this.#whenIdle = resolve;
    });
    const deadline = setTimeout(() => {
      for (const controller of this.#controllers) controller.abort();
    }, drainMs);
    await idle;
    clearTimeout(deadline);
  }
}
