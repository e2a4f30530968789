// Clients that hold a connection and do nothing with it, against a server that gives them a quarter of a second.
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { buildApp } from '../../src/server/app.ts';
import { listen } from '../../src/server/listen.ts';
import { serverConfig } from '../../src/settings/server-settings.ts';
import { fakeCaptioner } from '../fixtures/fake-captioner.ts';
import { form, runningRequests, serveApp, type ServedApp } from '../fixtures/served-app.ts';

let app: ServedApp;
const sockets: Socket[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await app.close();
});

interface Client {
  readonly socket: Socket;
  /** everything it was told, once the server has closed the connection */
  readonly told: Promise<string>;
}

function open(text = ''): Client {
  const socket = connect(app.port, '127.0.0.1').on('error', () => undefined);
  sockets.push(socket);
  if (text !== '') socket.write(text);
  let answer = '';
  socket.on('data', (bytes: Buffer) => {
    answer += bytes.toString();
  });
  const told = new Promise<string>((resolve) => {
    socket.once('end', () => socket.end());
    socket.once('close', () => {
      resolve(answer);
    });
  });
  return { socket, told };
}

function head(type: string, target = 'POST /v1/captions', length = 100_000): string {
  return `${target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\nContent-Length: ${length}\r\n\r\n`;
}

const FORM = 'multipart/form-data; boundary=b';
const FILE = '--b\r\ncontent-disposition: form-data; name="file"; filename="a.mp4"\r\n\r\nxxxx';
const STALLED: readonly (readonly [what: string, text: string])[] = [
  ['JSON', `${head('application/json')}{`],
  ['JSON for chat', `${head('application/json', 'POST /v1/chat/completions')}{`],
  ['a form without a part', head(FORM)],
  ['a form amid its file', head(FORM) + FILE],
  [
    'chunks',
    `POST /v1/captions HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${FORM}\r\nTransfer-Encoding: chunked\r\n\r\n`,
  ],
  ['a body for an unknown path', `${head('application/json', 'POST /nothing')}{`],
  ['a body of a DELETE', `${head('application/json', 'DELETE /v1/captions/some-id-1')}{`],
];

async function captionStatus(): Promise<number> {
  const response = await fetch(`${app.url}/v1/captions`, { method: 'POST', body: form('x') });
  await response.text();
  return response.status;
}

describe('a body that does not come', () => {
  it('takes no place of those that work, and ends with 408 and a sentence', async () => {
    app = await serveApp(fakeCaptioner(), { maxRequests: 1, idleMs: 1000 });
    const clients = STALLED.map(([, text]) => open(text));
    await vi.waitFor(async () => {
      expect(await runningRequests(app.url)).toBe(5);
    });
    expect(await captionStatus()).toBe(200);
    const answers = await Promise.all(clients.map(({ told }) => told));
    for (const [index, answer] of answers.entries())
      expect([STALLED[index]![0], answer]).toEqual([
        STALLED[index]![0],
        expect.stringMatching(/^HTTP\/1\.1 408 [^]*comes too slowly/),
      ]);
    await vi.waitFor(async () => {
      expect(await runningRequests(app.url)).toBe(0);
      expect(await app.uploads()).toEqual([]);
    });
  });

  it('a byte at a time is given up too', async () => {
    app = await serveApp(fakeCaptioner(), { idleMs: 400 });
    const { socket, told } = open(`${head('application/json')}{"media":"`);
    const timer = setInterval(() => socket.write('x'), 30);
    expect(await told).toContain('HTTP/1.1 408');
    clearInterval(timer);
  });

  it('holds at most half of the places from one address', async () => {
    app = await serveApp(fakeCaptioner(), { maxReceiving: 4 });
    for (let count = 0; count < 2; count += 1) open(head(FORM) + FILE);
    await vi.waitFor(async () => {
      expect(await runningRequests(app.url)).toBe(2);
    });
    expect(await captionStatus()).toBe(429);
    expect(await (await fetch(`${app.url}/metrics`)).text()).toContain(
      'avocado_requests_rejected_total{reason="receiving"} 1',
    );
    expect((await fetch(`${app.url}/readyz`)).status).toBe(200);
    sockets.pop()!.destroy();
    await vi.waitFor(async () => {
      expect(await captionStatus()).toBe(200);
    });
  });

  it.each(['/v1/jobs', '/v1/files', '/nothing'])('holds at most half of the places also at %s', async (path) => {
    app = await serveApp(fakeCaptioner(), { maxReceiving: 4, idleMs: 60_000 });
    const clients = Array.from({ length: 2 }, () => open(`${head('application/json', `POST ${path}`)}{`));
    await vi.waitFor(async () => {
      expect(await captionStatus()).toBe(429);
    });
    for (const { socket } of clients) socket.destroy();
    await vi.waitFor(async () => {
      expect(await captionStatus()).toBe(200);
    });
  });

  it('ends at the deadline of its request with 408', async () => {
    app = await serveApp(fakeCaptioner(), { maxTimeoutSeconds: 0.3 });
    expect(await open(head(FORM) + FILE).told).toMatch(/^HTTP\/1\.1 408 [^]*still being received/);
  });

  it('ends at the deadline that its head asks for', async () => {
    app = await serveApp(fakeCaptioner());
    const request = (head(FORM) + FILE).replace('\r\n', '\r\nX-Request-Timeout: 0.3\r\n');
    expect(await open(request).told).toMatch(/^HTTP\/1\.1 408 [^]*not done after 0.3 s: it was still being received/);
  });
});

describe('a connection', () => {
  it('that sends no request, or half of a head, is closed', async () => {
    app = await serveApp(fakeCaptioner(), { idleMs: 200 });
    const told = await Promise.all([open().told, open('GET /heal').told]);
    for (const answer of told) expect(answer).toMatch(/^HTTP\/1\.1 408 /);
  });

  it('that is idle gives way to a new one at the limit', async () => {
    app = await serveApp(fakeCaptioner(), { maxConnections: 3 });
    const idle = [open(), open(), open()];
    await vi.waitFor(async () => {
      expect((await fetch(`${app.url}/healthz`)).status).toBe(200);
    });
    expect(await idle[0]!.told).toBe('');
    expect(idle[2]!.socket.closed).toBe(false);
  });

  it('counts at whichever address of localhost it is made', async () => {
    app = await serveApp(fakeCaptioner()); // ends after each test
    const config = serverConfig({ host: 'localhost', port: 0, maxConnections: 1, drainMs: 0 });
    const addresses = ['127.0.0.1', '127.0.0.2'];
    const engine = { close: () => Promise.resolve() };
    const both = await listen(await buildApp({ captioner: fakeCaptioner(), config }), engine, config, () =>
      Promise.resolve(addresses),
    );
    const told: Promise<unknown>[] = [];
    for (const address of addresses) {
      const socket = connect(Number(new URL(both.url).port), address).on('error', () => undefined);
      await new Promise((resolve) => socket.once('connect', resolve));
      told.push(new Promise((resolve) => socket.resume().once('close', resolve)));
    }
    await Promise.all(told.slice(0, -1)); // each new one took the place of the one before
    expect((await fetch(`${both.url}/healthz`)).status).toBe(200);
    await Promise.all(told);
    await both.close();
  });

  it('beyond the limit is refused with 429 where all others have a request', async () => {
    const captioner = fakeCaptioner({ wordDelayMs: 5000 });
    app = await serveApp(captioner, { maxConnections: 1 });
    open(`${head(FORM, 'POST /v1/captions', FILE.length + 9)}${FILE}\r\n--b--\r\n`);
    await vi.waitFor(() => {
      expect(captioner.seen).toHaveLength(1);
    });
    expect(await open().told).toMatch(/^HTTP\/1\.1 429 [^]*connections/);
  });
});

describe('a client that does not read', () => {
  it('leaves its turn to others when the engine is done, and is disconnected', async () => {
    const captioner = fakeCaptioner((request) => ({
      words: Array.from({ length: request.maxTokens === 1 ? 1 : 800 }, () => 'w'.repeat(64 * 1024)),
    }));
    app = await serveApp(captioner, { maxRequests: 1, idleMs: 3000 });
    const text = `--b\r\ncontent-disposition: form-data; name="stream"\r\n\r\ntrue\r\n${FILE}\r\n--b--\r\n`;
    const { socket } = open(head(FORM, 'POST /v1/captions', text.length) + text);
    socket.pause();
    await vi.waitFor(() => {
      expect(captioner.endings).toEqual(['caption-end']);
    });
    const quick = await fetch(`${app.url}/v1/captions`, { method: 'POST', body: form('x', { max_tokens: '1' }) });
    expect(quick.status).toBe(200);
    await quick.arrayBuffer();
    expect(await runningRequests(app.url)).toBe(1); // its response is still open
    await vi.waitFor(
      async () => {
        expect(await runningRequests(app.url)).toBe(0);
      },
      { timeout: 30_000, interval: 100 },
    );
  });
});
