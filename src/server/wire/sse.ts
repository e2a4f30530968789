// Server-sent events. Framing, heartbeat and flow control are @fastify/sse's. It does not handle a client that
// disconnects while we wait for its socket, so that is handled here.
import type { SSESource } from '@fastify/sse';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** Writes no faster than the client reads, and never waits for a client that has disconnected. */
export class EventStream {
  readonly #reply: FastifyReply;
  readonly #context: FastifyRequest['context'];

  constructor({ context }: FastifyRequest, reply: FastifyReply) {
    this.#reply = reply;
    this.#context = context;
  }

  get isConnected(): boolean {
    return this.#reply.sse.isConnected;
  }

  /** Does nothing when the client has disconnected. */
  async send(...messages: readonly SSESource[]): Promise<void> {
    for (const message of messages) {
      if (!this.isConnected) return;
      if (!this.#reply.raw.headersSent) void this.#reply.headers(this.#context.headers());
      await Promise.race([this.#reply.sse.send(message), this.#context.closed]);
    }
  }

  /** Skipped while the client has not read everything: a comment only keeps an idle connection open. */
  comment(text: string): void {
    const { raw, sse } = this.#reply;
    if (!sse.isConnected || raw.writableNeedDrain) return;
    sse.sendHeaders();
    raw.write(`: ${text}\n\n`);
  }
}
