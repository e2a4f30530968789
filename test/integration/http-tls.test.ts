// The server's own HTTPS.
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { Agent, request as httpsRequest } from 'node:https';
import { connect as connectPlainly } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fakeCaptioner } from '../fixtures/fake-captioner.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { selfSigned } from '../fixtures/self-signed.ts';
import { serveApp, type ServedApp } from '../fixtures/served-app.ts';

const scratch = scratchDirectory();
const { key, certificate } = selfSigned('localhost');

describe('HTTPS', () => {
  let app: ServedApp;
  const agent = new Agent({ ca: certificate, keepAlive: true });

  beforeAll(async () => {
    writeFileSync(scratch('cert.pem'), certificate);
    writeFileSync(scratch('key.pem'), key);
    const files = { tlsCertFile: scratch('cert.pem'), tlsKeyFile: scratch('key.pem') };
    app = await serveApp(fakeCaptioner(), { ...files, maxConnections: 2 });
  });

  afterAll(async () => {
    agent.destroy();
    await app.close();
  });

  async function ask(
    path: string,
    body?: string,
  ): Promise<{ readonly status: number | undefined; readonly text: string }> {
    const request = httpsRequest({
      ...{ agent, host: '127.0.0.1', port: app.port, servername: 'localhost', path },
      ...(body === undefined ? {} : { method: 'POST', headers: { 'content-type': 'application/json' } }),
    });
    request.end(body);
    const [response] = (await once(request, 'response')) as [AsyncIterable<Buffer> & { readonly statusCode?: number }];
    let text = '';
    for await (const part of response) text += part.toString();
    return { status: response.statusCode, text };
  }

  it('captions for a client that checks the certificate', async () => {
    expect((await ask('/readyz')).status).toBe(200);
    const media = `data:video/mp4;base64,${Buffer.from('x').toString('base64')}`;
    const { status, text } = await ask('/v1/captions', JSON.stringify({ media }));
    expect([status, text]).toEqual([200, expect.stringContaining('"caption"')]);
  });

  it('closes a connection that speaks no TLS, and goes on', async () => {
    const socket = connectPlainly(app.port, '127.0.0.1');
    let answer = '';
    socket.on('data', (part: Buffer) => (answer += part.toString('latin1'))).on('error', () => undefined);
    socket.write('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n');
    await once(socket, 'close');
    expect(answer).not.toContain('HTTP/1.1 200');
    expect((await ask('/healthz')).status).toBe(200);
  });

  it('counts its connections: the one that is idle for longest makes room', async () => {
    const open = async (): Promise<TLSSocket> => {
      const socket = connect({ port: app.port, host: '127.0.0.1', servername: 'localhost', ca: certificate });
      socket.on('error', () => undefined);
      await once(socket, 'secureConnect');
      return socket;
    };
    agent.destroy();
    const first = await open();
    const closed = once(first, 'close');
    const others = [await open(), await open()];
    first.resume();
    await closed;
    others[0]?.write('GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n');
    const [part] = (await once(others[0] as TLSSocket, 'data')) as [Buffer];
    expect(part.toString()).toContain('HTTP/1.1 200 OK');
    for (const socket of others) socket.destroy();
  });
});
