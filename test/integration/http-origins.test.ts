// A server without keys, and pages in a browser on its machine.
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fakeCaptioner } from '../fixtures/fake-captioner.ts';
import { serveApp, type ServedApp } from '../fixtures/served-app.ts';

let app: ServedApp;
let allowing: ServedApp;
let keyed: ServedApp;
let reachable: ServedApp;
let several: ServedApp;
const KEY = 'the-secret-key-of-anna';

beforeAll(async () => {
  app = await serveApp(fakeCaptioner(), { idleMs: 500 });
  allowing = await serveApp(fakeCaptioner(), {
    allowHosts: ['captions.example.org'],
    corsOrigins: ['https://page.example'],
    idleMs: 500,
  });
  keyed = await serveApp(fakeCaptioner(), { apiKeysText: `anna:${KEY}`, corsOrigins: ['*'] });
  reachable = await serveApp(fakeCaptioner(), { host: '0.0.0.0' });
  several = await serveApp(fakeCaptioner(), { corsOrigins: ['https://page.example', 'https://other.example'] });
});
afterAll(async () => {
  for (const one of [app, allowing, keyed, reachable, several]) await one.close();
});

interface Told {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** With node:http, because fetch sends no Host and no Origin of ours. */
function ask(server: ServedApp, target: string, headers: Record<string, string | string[]> = {}): Promise<Told> {
  const [method, path] = target.split(' ') as [string, string];
  const body = method === 'POST' ? '{"media":"data:,a"}' : '';
  return new Promise((resolve, reject) => {
    const type = method === 'POST' ? { 'content-type': 'application/json', 'content-length': body.length } : {};
    const request = httpRequest({ port: server.port, method, path, headers: { ...type, ...headers } }, (response) => {
      let text = '';
      response.on('data', (bytes: Buffer) => (text += bytes.toString()));
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text });
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}

const ROUTES = ['GET /', 'GET /healthz', 'GET /metrics', 'GET /v1/models', 'GET /page/samples', 'GET /openapi.json'];
const CAPTION = 'POST /v1/captions';

describe('without keys', () => {
  it.each([
    'evil.example',
    'evil.example:8080',
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    'x',
    '[::1',
    'a b',
  ])('a request to %s is refused on every route', async (host) => {
    for (const route of [...ROUTES, 'GET /nothing', 'DELETE /v1/captions/some-id-1', CAPTION]) {
      const { status, body } = await ask(app, route, { host });
      expect([route, status, body]).toEqual([route, 403, expect.stringContaining('"code":"forbidden"')]);
    }
  });

  it.each(['127.0.0.1', '127.0.0.1:8080', '[::1]:8080', 'localhost', 'LOCALHOST.:80', 'a.localhost', '192.168.1.5'])(
    'one to %s is answered',
    async (host) => {
      for (const route of [...ROUTES, CAPTION])
        expect([route, (await ask(app, route, { host })).status]).toEqual([route, 200]);
    },
  );

  it.each<[string, Record<string, string>, number]>([
    ['another site', { origin: 'http://evil.example', 'sec-fetch-site': 'cross-site' }, 403],
    ['another port of this machine', { origin: 'http://localhost:3000', 'sec-fetch-site': 'same-site' }, 403],
    ['a form without an origin', { origin: 'null', 'sec-fetch-site': 'cross-site' }, 403],
    ['another site in an old browser', { origin: 'http://evil.example' }, 403],
    ['its own page', { origin: 'http://localhost:8080', 'sec-fetch-site': 'same-origin' }, 200],
    ['its own page in an old browser', { origin: 'http://localhost:8080' }, 200],
    ['a person', { 'sec-fetch-site': 'none' }, 200],
    ['no browser', {}, 200],
  ])('%s may send what it may', async (_who, headers, status) => {
    expect((await ask(app, CAPTION, { host: 'localhost:8080', ...headers })).status).toBe(status);
    expect((await ask(app, 'DELETE /v1/captions/some-id-1', { host: 'localhost:8080', ...headers })).status).toBe(
      status === 200 ? 404 : status,
    );
  });

  it('the operator names further hosts and origins', async () => {
    expect((await ask(allowing, 'GET /v1/models', { host: 'captions.example.org' })).status).toBe(200);
    expect((await ask(allowing, 'GET /v1/models', { host: 'other.example.org' })).status).toBe(403);
    const page = { origin: 'https://page.example', 'sec-fetch-site': 'cross-site' };
    const told = await ask(allowing, CAPTION, page);
    expect([told.status, told.headers['access-control-allow-origin']]).toEqual([200, 'https://page.example']);
    expect((await ask(allowing, CAPTION, { ...page, origin: 'https://other.example' })).status).toBe(403);
  });

  it('a server for other machines is asked by any name, but not by other sites', async () => {
    expect((await ask(reachable, CAPTION, { host: 'captions' })).status).toBe(200);
    expect((await ask(reachable, CAPTION, { host: 'captions', 'sec-fetch-site': 'cross-site' })).status).toBe(403);
  });
});

/** All that a server says to bytes on a socket. */
function answerTo(server: ServedApp, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect(server.port, '127.0.0.1', () => socket.write(text));
    socket.on('data', (bytes: Buffer) => (answer += bytes.toString()));
    socket.once('error', reject);
    socket.once('close', () => {
      resolve(answer);
    });
  });
}

describe('a page of an allowed origin can read', () => {
  const FROM = 'host: localhost\r\norigin: https://page.example\r\n';
  const PATHS: readonly (readonly [what: string, status: number, request: string])[] = [
    [
      'that its body comes too slowly',
      408,
      `POST /v1/captions HTTP/1.1\r\n${FROM}content-type: application/json\r\ncontent-length: 9\r\n\r\n{`,
    ],
    ['that its path cannot be read', 400, `GET /v1/captions/%zz HTTP/1.1\r\n${FROM}connection: close\r\n\r\n`],
    ['that its head is too large', 431, `GET / HTTP/1.1\r\n${FROM}x-large: ${'x'.repeat(20_000)}\r\n\r\n`],
    ['that its head is malformed', 400, `GET / HTTP/1.1\r\n${FROM}a b\r\n\r\n`],
  ];
  it.each(PATHS)('%s', async (_what, status, text) => {
    const told = await answerTo(allowing, text);
    expect(told).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(told).toContain('\r\naccess-control-allow-origin: https://page.example\r\n');
    expect(told).toMatch(/\r\naccess-control-expose-headers: .*retry-after/);
    expect(told).toMatch(/\r\nvary: origin/);
    expect(await answerTo(app, text)).not.toContain('access-control-');
  });

  it('no more than others where nobody knows which page asks', async () => {
    const overlong = `GET / HTTP/1.1\r\nx-large: ${'x'.repeat(20_000)}\r\n\r\n`;
    expect(await answerTo(keyed, overlong)).toContain('\r\naccess-control-allow-origin: *\r\n');
    const told = await answerTo(several, overlong);
    expect(told).toMatch(/^HTTP\/1.1 431 /);
    expect(told).not.toContain('access-control-allow');
  });
});

describe('with keys', () => {
  it('any name is answered, and a browser may ask first without a key', async () => {
    expect((await ask(keyed, 'GET /v1/models', { host: 'evil.example', 'x-api-key': KEY })).status).toBe(200);
    // Whatever a client sends: a key for what is made once, and what OpenAI's clients tell of themselves.
    const headers = 'authorization,content-type,idempotency-key,x-stainless-lang';
    const asked = { origin: 'https://page.example', 'access-control-request-method': 'POST' };
    const told = await ask(keyed, 'OPTIONS /v1/jobs', { ...asked, 'access-control-request-headers': headers });
    expect([told.status, told.headers['access-control-allow-headers']]).toEqual([204, headers]);
    const other = { ...asked, origin: 'https://evil.example', 'access-control-request-headers': headers };
    expect((await ask(allowing, 'OPTIONS /v1/jobs', other)).headers).not.toHaveProperty('access-control-allow-headers');
    expect((await ask(keyed, CAPTION, { origin: 'https://page.example' })).status).toBe(401);
  });
});

describe('what this server cannot read', () => {
  it.each(['gzip', 'deflate', 'br', 'GZIP', 'identity, gzip'])(
    'a body with content-encoding %s is refused',
    async (encoding) => {
      const { status, body } = await ask(app, CAPTION, { 'content-encoding': encoding });
      expect([status, body]).toEqual([415, expect.stringContaining('without compression')]);
    },
  );

  it('a body with content-encoding identity is none', async () => {
    expect((await ask(app, CAPTION, { 'content-encoding': 'identity' })).status).toBe(200);
  });

  it('an unknown expectation gets an error of ours', async () => {
    const { status, body } = await ask(app, CAPTION, { expect: 'weird' });
    expect([status, body]).toEqual([417, expect.stringContaining('Leave the header Expect out')]);
  });
});
