// Clients that hold a connection and do nothing with it: no bytes of a body, no reading of a response, no request at
// all. Each of them loses it after a while, so that silence never takes what others need.
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { AvocadoError } from '../../base/errors.ts';
import type { ServerConfig } from '../../settings/server-settings.ts';
import { unreadOriginHeaders } from './origins.ts';
import { refuseExpectation, refuseRaw, refuseUnfinished } from '../wire/error-reply.ts';

/** Slower than any telephone line; a body of 2 GB takes the whole deadline of a request anyway. */
const LEAST_BYTES_PER_SECOND = 1000;
/** Looks at the open bodies in one idle time. */
const LOOKS = 20;

/** Whether a body comes fast enough. Pure: no clock, no socket. */
export class Pace {
  readonly #leastBytes: number;
  readonly #idleMs: number;
  #bytes: number;
  #sinceMs: number;

  /** @param idleMs in which {@link LEAST_BYTES_PER_SECOND} must come on average */
  constructor(idleMs: number, bytes: number, nowMs: number) {
    this.#idleMs = idleMs;
    this.#leastBytes = (idleMs / 1000) * LEAST_BYTES_PER_SECOND;
    this.#bytes = bytes;
    this.#sinceMs = nowMs;
  }

  /** @param waits the server waits for the client, and not the other way round */
  look(bytes: number, nowMs: number, waits: boolean): void {
    if (waits && bytes - this.#bytes < this.#leastBytes) return;
    this.#bytes = bytes;
    this.#sinceMs = nowMs;
  }

  /** for how long fewer bytes have come than in one idle time must */
  behindMs(nowMs: number): number {
    return nowMs - this.#sinceMs;
  }

  isTooSlow(nowMs: number): boolean {
    return this.behindMs(nowMs) >= this.#idleMs;
  }
}

type ClientLimits = Pick<ServerConfig, 'idleMs' | 'maxConnections' | 'corsOrigins'> &
  Partial<Pick<ServerConfig, 'tls'>>;

/** To be called after every request has its context, and before all other hooks. */
export function watchClients(app: FastifyInstance, config: ClientLimits): void {
  const { idleMs } = config;
  limitConnections(app.server, config);
  app.server.on('checkExpectation', refuseExpectation);
  const bodies = new Map<FastifyReply, Pace>();
  const timer = setInterval(
    () => {
      for (const [reply, pace] of bodies) {
        if (!isTooSlow(reply.request, pace)) continue;
        bodies.delete(reply);
        refuseUnfinished(reply, tooSlow(idleMs));
      }
    },
    Math.max(5, idleMs / LOOKS),
  ).unref();
  app.addHook('onClose', () => {
    clearInterval(timer);
  });
  app.addHook('onRequest', (request, reply, done) => {
    dropUnread(reply, idleMs);
    const pace = new Pace(idleMs, request.socket.bytesRead, performance.now());
    request.context.behindMs = () => pace.behindMs(performance.now());
    bodies.set(reply, pace);
    request.context.defer(() => bodies.delete(reply));
    done();
  });
}

function isTooSlow({ raw, socket }: FastifyRequest, pace: Pace): boolean {
  const nowMs = performance.now();
  // Bytes that wait to be read are the server's delay. isPaused() does not tell: it is true of every body that is read
  // through an iterator.
  pace.look(socket.bytesRead, nowMs, !raw.complete && raw.readableLength === 0);
  return pace.isTooSlow(nowMs);
}

function tooSlow(idleMs: number): AvocadoError {
  return new AvocadoError(
    'deadline_exceeded',
    `The body of the request comes too slowly: it must bring ${LEAST_BYTES_PER_SECOND} bytes a second, counted over ` +
      `${idleMs / 1000} s. Send it again without pauses.`,
  );
}

/**
 * Closes the connection of a client that reads nothing of what waits for it. Node sees every byte that the client's
 * side takes, and calls after `idleMs` without one.
 */
function dropUnread(reply: FastifyReply, idleMs: number): void {
  const { raw } = reply;
  const { socket } = raw;
  raw.setTimeout(idleMs, () => {
    if (socket !== null && socket.writableLength > 0) raw.destroy();
    else socket?.setTimeout(idleMs); // nothing to read yet
  });
}

/**
 * At most `maxConnections`. Beyond that the one that has been without a request for longest is closed, and a new one
 * is refused only where all have one.
 */
function limitConnections(server: Server, config: ClientLimits): void {
  const { maxConnections: max } = config;
  const isTls = config.tls !== undefined;
  /** in the order of their last use, with their open requests */
  const open = new Map<Socket, number>();
  const count = (socket: Socket, change: number): void => {
    const requests = open.get(socket);
    if (requests === undefined) return;
    open.delete(socket);
    open.set(socket, requests + change);
  };
  // Those that are still agreeing on a key have no request and no place among the others.
  if (isTls) server.maxConnections = 2 * max;
  server.on(isTls ? 'secureConnection' : 'connection', (socket: Socket) => {
    if (open.size >= max) {
      const [idle] = [...open].find(([, requests]) => requests === 0) ?? [];
      if (idle === undefined) {
        refuseRaw(
          socket,
          new AvocadoError('queue_full', `The server has ${max} connections and takes no more. Try again later.`),
          unreadOriginHeaders(config),
        );
        return;
      }
      open.delete(idle);
      idle.destroy();
    }
    open.set(socket, 0);
    socket.once('close', () => open.delete(socket));
  });
  server.on('request', (request, response) => {
    const { socket } = request;
    count(socket, 1);
    response.once('close', () => {
      count(socket, -1);
    });
  });
}
