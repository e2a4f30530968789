import { once } from 'node:events';
import { connect, type AddressInfo } from 'node:net';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import { sendError } from '../../../src/server/wire/error-reply.ts';

/** A server that refuses every body before it has read it. */
function refusingServer(): FastifyInstance {
  const app = Fastify();
  app.setErrorHandler(sendError);
  const refuse = () => Promise.reject(new AvocadoError('queue_full', 'full'));
  app.addContentTypeParser('*', (_request, _payload, done) => {
    done(null);
  });
  app.post('/', { onRequest: refuse }, () => 'unreachable');
  return app;
}

describe('a request that is refused before its body was read', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it('is disconnected when the body still has not come after some seconds', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout'] });
    const app = refusingServer();
    await app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = app.server.address() as AddressInfo;
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    socket.write('POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: a/b\r\ncontent-length: 100\r\n\r\nten bytes.');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toContain('HTTP/1.1 429');
    expect(socket.closed).toBe(false);
    const closed = once(socket, 'close');
    vi.advanceTimersByTime(10_000);
    await closed;
    await app.close();
  });

  it('may have no connection at all, as in a test', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout'] });
    const app = refusingServer();
    const reply = await app.inject({ method: 'POST', url: '/', headers: { 'content-type': 'a/b' }, payload: 'x' });
    expect(reply.statusCode).toBe(429);
    vi.advanceTimersByTime(10_000);
    await app.close();
  });
});
