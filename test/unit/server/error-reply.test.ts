import { once } from 'node:events';
import { connect, type AddressInfo } from 'node:net';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { AvocadoError, type ErrorCode } from '../../../src/base/errors.ts';
import { errorBody, sendError } from '../../../src/server/wire/error-reply.ts';

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

describe('the words of an error', () => {
  const told = (code: ErrorCode, message: string): unknown =>
    (errorBody({ code, message })['error'] as { message: string }).message;

  it('that nobody foresaw are not told', () => {
    expect(told('internal', "ENOENT: open '/tmp/avocado-intake/1/x.mp4'")).not.toMatch(/ENOENT|tmp/);
  });

  it('name no directory of the server', () => {
    expect(told('checkpoint_invalid', 'The file /models/secret/x 7b/config.json is no JSON.')).not.toContain('/models');
    expect(told('engine_error', "Cannot open '/a/b.c' (/d/e/f), see file:/g/h.")).not.toMatch(/\/[ade]\//);
    expect(told('media_undecodable', 'media://films/a/b.mp4 is damaged.')).toBe('media://films/a/b.mp4 is damaged.');
    expect(told('ffmpeg_missing', 'See https://example.org/a/b for 24/7 help.')).toContain(
      'https://example.org/a/b for 24/7',
    );
  });
});
