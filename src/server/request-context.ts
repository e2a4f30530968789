// What we know about one HTTP request from its first byte until its response is closed, at `request.context`.
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { FastifyInstance } from 'fastify';
import type { AdmittedRequest } from '../admission/request.ts';
import type { Timings } from '../output/events.ts';
import type { RequestObservation } from './observe/request-metrics.ts';
import type { RequestTrace } from './observe/tracing.ts';

declare module 'fastify' {
  interface FastifyRequest {
    context: RequestContext;
  }
}

/** The header of the W3C draft Server Timing: durations in milliseconds. */
function serverTiming({ stages, totalSeconds }: Timings): string {
  return Object.entries({ ...stages, total: totalSeconds })
    .map(([name, seconds]) => `${name};dur=${(seconds * 1000).toFixed(1)}`)
    .join(', ');
}

export class RequestContext {
  /** name of the API key; undefined when the server has no keys */
  keyName: string | undefined;
  /** for how long its body has been slower than it must be */
  behindMs: () => number = () => 0;
  /** of a request that does work, where traces are wanted */
  trace: RequestTrace | undefined;
  /** of a caption request, from before its body is read */
  observation: RequestObservation | undefined;
  admitted: AdmittedRequest | undefined;
  /** the handler of a caption request, once it runs; never rejects */
  work: Promise<void> | undefined;
  readonly #cleanups: (() => void)[] = [];
  #resolveClosed: () => void = () => undefined;
  #isClosed = false;
  /** resolves when the response has been sent, or its client has disconnected */
  readonly closed: Promise<void> = new Promise((resolve) => {
    this.#resolveClosed = resolve;
  });

  /** Runs `cleanup` when the response closes: the latest registered first. After the close it runs at once. */
  defer(cleanup: () => void): void {
    if (this.#isClosed) cleanup();
    else this.#cleanups.push(cleanup);
  }

  /** What is known of the request when its response begins: the time of its stages, and the hash of its media. */
  headers(): Record<string, string> {
    const timings = this.observation?.summary?.end?.timings;
    const hash = this.admitted?.contentHash;
    return {
      ...(timings === undefined ? {} : { 'server-timing': serverTiming(timings) }),
      ...(hash === undefined ? {} : { 'x-avocado-media-hash': hash }),
    };
  }

  close(): void {
    this.#isClosed = true;
    this.#resolveClosed();
    for (const cleanup of this.#cleanups.splice(0).reverse()) cleanup();
  }
}

const CLIENT_ID = /^[A-Za-z0-9._-]{8,64}$/;

/** The open responses, by request id. No two open responses share an id, and a stopping server can wait for them. */
export class InFlightResponses {
  readonly #ids = new Set<string>();
  #onIdle: (() => void) | undefined;

  /** The client's own x-request-id if it is well-formed and not in use, otherwise a new one. */
  newId({ headers }: Pick<IncomingMessage, 'headers'>): string {
    const given = headers['x-request-id'];
    return typeof given === 'string' && CLIENT_ID.test(given) && !this.#ids.has(given) ? given : `cap-${randomUUID()}`;
  }

  /** Gives every request its context, and every response its id. To be called before all other hooks are added. */
  track(app: FastifyInstance): void {
    app.decorateRequest('context');
    app.addHook('onRequest', (request, reply, done) => {
      const { id } = request;
      const context = new RequestContext();
      request.context = context;
      void reply.header('x-request-id', id);
      this.#ids.add(id);
      context.defer(() => {
        this.#ids.delete(id);
        if (this.#ids.size === 0) this.#onIdle?.();
      });
      reply.raw.once('close', () => {
        context.close();
      });
      done();
    });
    app.addHook('onSend', (request, reply, payload, done) => {
      // Fastify also answers what it cannot read, before the first hook.
      const context = request.context as RequestContext | undefined;
      void reply.headers(context?.headers() ?? {});
      done(null, payload);
    });
  }

  /** Waits until no response is open, at most `mostMs`. */
  async idle(mostMs: number): Promise<void> {
    if (this.#ids.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, mostMs);
      this.#onIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
