import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { FastifyInstance } from 'fastify';

const CLIENT_ID = /^[A-Za-z0-9._-]{8,64}$/;

/** Answers under way, by request id: an id is alive once, and a server that stops lets the last bytes out. */
export class LiveResponses {
  readonly #ids = new Set<string>();
  #whenIdle: (() => void) | undefined;

  /** The client's own id where it is a plain word that nobody else uses now, otherwise a new one. */
  newId({ headers }: Pick<IncomingMessage, 'headers'>): string {
    const given = headers['x-request-id'];
    return typeof given === 'string' && CLIENT_ID.test(given) && !this.#ids.has(given) ? given : `cap-${randomUUID()}`;
  }

  /** Every answer carries its id, and counts until its last byte has gone or its reader has. */
  track(app: FastifyInstance): void {
    app.addHook('onRequest', async ({ id }, reply) => {
      void reply.header('x-request-id', id);
      this.#ids.add(id);
      reply.raw.once('close', () => {
        this.#ids.delete(id);
        if (this.#ids.size === 0) this.#whenIdle?.();
      });
    });
  }

  /** Until no answer is under way, but no longer than `mostMs`. */
  async idle(mostMs: number): Promise<void> {
    if (this.#ids.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, mostMs);
      this.#whenIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
