// Hostile answers to a download: each ends in an error with a code, no file on disk, no open connection.
import type { Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { openedIntake, openSource, type OpenedIntake } from '../fixtures/opened-intake.ts';
import { rawServer, type RawServer } from '../fixtures/raw-server.ts';

const MAX_BYTES = 100_000;
const HEAD = 'HTTP/1.1 200 OK\r\n';
const BOMB = gzipSync(Buffer.alloc(50_000_000));

type Say = (socket: Socket) => void;

/** Writes for ever, as fast as the client reads or every `everyMs`. */
function forever(socket: Socket, chunk: string | Buffer, everyMs?: number): void {
  if (everyMs !== undefined) {
    const timer = setInterval(() => socket.write(chunk), everyMs);
    socket.once('close', () => {
      clearInterval(timer);
    });
    return;
  }
  const write = (): void => {
    while (!socket.destroyed && socket.write(chunk));
  };
  socket.on('drain', write);
  write();
}

const say =
  (text: string | Buffer): Say =>
  (socket) => {
    socket.end(text);
  };
const status = (line: string): Say => say(`HTTP/1.1 ${line}\r\nContent-Length: 12\r\n\r\nBODY-SECRETS`);
const half =
  (text: string): Say =>
  (socket) => {
    socket.write(text);
  };
const drip =
  (first: string, chunk: string): Say =>
  (socket) => {
    socket.write(first);
    forever(socket, chunk, 20);
  };
const flood =
  (first: string, chunk: string | Buffer): Say =>
  (socket) => {
    socket.write(first);
    forever(socket, chunk);
  };

/** Only the cases that run into a time limit have a short one: the others must pass on a busy machine. */
const [LATE, IDLE] = [/took longer than 1 s/, /stopped sending/];

const CASES: readonly (readonly [title: string, code: string, reason: RegExp, say: Say])[] = [
  ['says nothing', 'media_unreachable', IDLE, half('')],
  ['stops within its headers', 'media_unreachable', IDLE, half(`${HEAD}Content-Le`)],
  ['stops within its body', 'media_unreachable', IDLE, half(`${HEAD}Content-Length: 10\r\n\r\nabc`)],
  ['drips its headers', 'media_unreachable', LATE, drip(HEAD, 'X')],
  ['drips its body', 'media_unreachable', LATE, drip(`${HEAD}Content-Length: 90000\r\n\r\n`, 'x')],
  ['drips chunks', 'media_unreachable', LATE, drip(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`, '1\r\nx\r\n')],
  ['drips interim answers', 'media_unreachable', LATE, drip('', 'HTTP/1.1 102 Processing\r\n\r\n')],
  [
    'floods interim answers',
    'media_unreachable',
    LATE,
    flood('', 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'.repeat(100)),
  ],
  ['has a body without end', 'media_too_large', /100000 bytes/, flood(`${HEAD}\r\n`, Buffer.alloc(64 * 1024))],
  [
    'has chunks without end',
    'media_too_large',
    /100000 bytes/,
    flood(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`, `400\r\n${'x'.repeat(1024)}\r\n`),
  ],
  [
    'has one endless chunk',
    'media_too_large',
    /100000 bytes/,
    flood(`${HEAD}Transfer-Encoding: chunked\r\n\r\nFFFFFFFF\r\n`, 'x'.repeat(1024)),
  ],
  ['says it is too large', 'media_too_large', /100000 bytes/, half(`${HEAD}Content-Length: 100001\r\n\r\n`)],
  [
    'says it is far too large',
    'media_too_large',
    /100000 bytes/,
    half(`${HEAD}Content-Length: 9007199254740991\r\n\r\n`),
  ],
  [
    'sends a huge header',
    'media_unreachable',
    /too many headers/,
    say(`${HEAD}X-Large: ${'x'.repeat(100_000)}\r\nContent-Length: 1\r\n\r\nx`),
  ],
  ['sends headers without end', 'media_unreachable', /too many headers/, flood(HEAD, 'X-More: and more\r\n')],
  ['sends one header without end', 'media_unreachable', /too many headers/, flood(`${HEAD}X-More: `, 'x'.repeat(1024))],
  [
    'sends trailers without end',
    'media_unreachable',
    /too many headers|as an HTTP server/,
    flood(`${HEAD}Transfer-Encoding: chunked\r\n\r\n0\r\n`, 'X-More: and more\r\n'),
  ],
  [
    'sends fewer bytes than it said',
    'media_unreachable',
    /another number of bytes|broke off/,
    say(`${HEAD}Content-Length: 10\r\n\r\nabc`),
  ],
  [
    'cuts a chunk short',
    'media_unreachable',
    /broke off|another number|HTTP server/,
    say(`${HEAD}Transfer-Encoding: chunked\r\n\r\n10\r\nabc`),
  ],
  [
    'forgets the last chunk',
    'media_unreachable',
    /broke off|another number|HTTP server/,
    say(`${HEAD}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n`),
  ],
  [
    'sends a chunk of no length',
    'media_unreachable',
    /HTTP server/,
    say(`${HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n`),
  ],
  [
    'says two lengths',
    'media_unreachable',
    /HTTP server|another number of bytes/,
    say(`${HEAD}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd`),
  ],
  ['says a length below zero', 'media_unreachable', /HTTP server/, say(`${HEAD}Content-Length: -1\r\n\r\nabc`)],
  ['says a length that is none', 'media_unreachable', /HTTP server/, say(`${HEAD}Content-Length: three\r\n\r\nabc`)],
  [
    'says a length beyond numbers',
    'media_unreachable',
    /HTTP server|another number of bytes/,
    say(`${HEAD}Content-Length: 99999999999999999999999999\r\n\r\nabc`),
  ],
  [
    'says a length and sends chunks',
    'media_unreachable',
    /HTTP server|another number of bytes/,
    say(`${HEAD}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`),
  ],
  ['has no status line', 'media_unreachable', /HTTP server/, say('garbage\r\n\r\n')],
  ['has a status that is none', 'media_unreachable', /HTTP server/, say('HTTP/1.1 abc OK\r\n\r\n')],
  ['is older than HTTP', 'media_unreachable', /HTTP server/, say('<html>hello</html>')],
  ['greets as a mail server', 'media_unreachable', /HTTP server/, say('220 mail.example ESMTP\r\n')],
  ['answers in TLS', 'media_unreachable', /HTTP server/, say(Buffer.from([0x15, 0x03, 0x01, 0, 2, 2, 0x46]))],
  ['puts a NUL into a header', 'media_unreachable', /HTTP server/, say(`${HEAD}X: a\0b\r\n\r\nabc`)],
  ['hangs up', 'media_unreachable', /broke off/, say('')],
  [
    'resets',
    'media_unreachable',
    /broke off/,
    (socket) => {
      socket.resetAndDestroy();
    },
  ],
  [
    'resets within the body',
    'media_unreachable',
    /broke off/,
    (socket) =>
      socket.write(`${HEAD}Content-Length: 10\r\n\r\nabc`, () => {
        socket.resetAndDestroy();
      }),
  ],
  [
    'sends a gzip bomb',
    'media_unreachable',
    /compressed/,
    say(Buffer.concat([Buffer.from(`${HEAD}Content-Encoding: gzip\r\nContent-Length: ${BOMB.length}\r\n\r\n`), BOMB])),
  ],
  [
    'sends brotli',
    'media_unreachable',
    /compressed/,
    say(`${HEAD}Content-Encoding: br\r\nContent-Length: 3\r\n\r\nabc`),
  ],
  [
    'sends gzip in gzip',
    'media_unreachable',
    /compressed/,
    say(`${HEAD}Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n\r\nabc`),
  ],
  [
    'switches protocols',
    'media_unreachable',
    /fetched|broke off|HTTP server/,
    half('HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n'),
  ],
  ...[
    '201 Created',
    '203 Other',
    '206 Partial Content',
    '300 Choices',
    '304 Not Modified',
    '400 Bad Request',
    '401 Unauthorized',
    '403 Forbidden',
    '404 Not Found',
    '429 Slow Down',
    '500 Error',
    '503 Away',
    '999 What',
  ].map(
    (line) =>
      [`answers ${line}`, 'media_unreachable', new RegExp(`status ${line.slice(0, 3)} `), status(line)] as const,
  ),
  ['answers 204 No Content', 'media_unreachable', /status 204/, say('HTTP/1.1 204 No Content\r\n\r\n')],
];

let server: RawServer;
let intake: OpenedIntake;
let current: Say = say('');
const live: string[] = [];

/** All names resolve to this machine, and one of its ports is allowed. */
function openedFor(
  port: number,
  settings: Parameters<typeof openedIntake>[0] = {},
  fetchIdleMs = 60_000,
): Promise<OpenedIntake> {
  return openedIntake(
    { urlHosts: [`media.test:${port}`], allowCidrs: ['127.0.0.1/32'], maxUploadBytes: MAX_BYTES, ...settings },
    {
      resolve: async () => [{ address: '127.0.0.1', family: 4 }],
      fetchIdleMs,
    },
  );
}

beforeAll(async () => {
  server = await rawServer((socket, path) => {
    live.push(path);
    socket.once('close', () => live.splice(live.indexOf(path), 1));
    const answer = CASES[Number(path.slice(1, path.indexOf('?')))]?.[3] ?? current;
    answer(socket);
  });
  intake = await openedFor(server.port);
});
afterAll(async () => {
  await intake.close();
  await server.close();
});

const url = (path = 'clip.mp4'): string => `http://media.test:${server.port}/${path}?token=SECRET`;

async function nothingIsLeft(opened: OpenedIntake, path = 'clip.mp4'): Promise<void> {
  expect({ files: await opened.files(), use: opened.use() }).toMatchObject({
    files: [],
    use: { usedBytes: 0, files: 0 },
  });
  await vi.waitFor(() => {
    expect(live).not.toContain(`/${path}?token=SECRET`);
  }, 10_000);
}

describe('a server that', () => {
  it.concurrent.each(CASES.map(([title, code, reason], index) => [title, code, reason, String(index)] as const))(
    '%s: %s',
    async (_title, code, reason, path) => {
      const opened = await openedFor(
        server.port,
        { fetchTimeoutMs: reason === LATE ? 1000 : 60_000 },
        reason === IDLE ? 300 : 60_000,
      );
      const error = await opened.errorOf(url(path));
      expect([error?.code, error?.param]).toEqual([code, 'media']);
      expect(error!.message).toMatch(reason);
      expect(error!.message).not.toMatch(/127\.0\.0\.1|SECRET/);
      await nothingIsLeft(opened, path);
      await opened.close();
    },
  );

  it('sends more than it announced: the rest is not read', async () => {
    current = say(`${HEAD}Content-Length: 3\r\n\r\nabcdef`);
    const source = intake.fromReference(url(), 'media');
    expect((await openSource(source)).contentHash).toBe(
      'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    );
    expect(intake.use().usedBytes).toBe(3);
    await source.release();
    await nothingIsLeft(intake);
  });

  it('does not listen: takes no connections', async () => {
    const gone = await rawServer(say(''));
    await gone.close();
    const other = await openedFor(gone.port);
    const error = await other.errorOf(`http://media.test:${gone.port}/`);
    expect([error?.code, error?.message]).toEqual([
      'media_unreachable',
      expect.stringContaining('takes no connections'),
    ]);
    await other.close();
  });

  it('has a name whose lookup never ends: the time limit applies', async () => {
    const other = await openedIntake({ fetchTimeoutMs: 200 }, { resolve: () => new Promise(() => undefined) });
    const error = await other.errorOf('http://media.test/');
    expect([error?.code, error?.message]).toEqual([
      'media_unreachable',
      expect.stringContaining('took longer than 0.2 s'),
    ]);
    await other.close();
  });
});

describe('a download', () => {
  it.each([
    [
      'its client leaves',
      async (source: ReturnType<OpenedIntake['fromReference']>, controller: AbortController) => {
        controller.abort();
        await source.release();
      },
    ],
    ['its source is released', async (source: ReturnType<OpenedIntake['fromReference']>) => source.release()],
  ])('stops when %s, and leaves nothing', async (_what, leave) => {
    current = drip(`${HEAD}Content-Length: 90000\r\n\r\n`, 'x');
    const controller = new AbortController();
    const source = intake.fromReference(url(), 'media');
    const opened = openSource(source, controller.signal);
    const failed = expect(opened).rejects.toMatchObject({ code: 'aborted' });
    await vi.waitFor(async () => {
      expect(await intake.files()).toHaveLength(1);
    });
    await leave(source, controller);
    await failed;
    await nothingIsLeft(intake);
    await expect(openSource(source)).rejects.toMatchObject({ code: 'aborted' });
  });

  it('that exceeds the disk quota is refused until another file is released', async () => {
    current = say(`${HEAD}Content-Length: 60000\r\n\r\n${'x'.repeat(60_000)}`);
    const small = await openedFor(server.port, { maxTemporaryBytes: MAX_BYTES });
    const first = small.fromReference(url(), 'media');
    await openSource(first);
    expect((await small.errorOf(url()))?.code).toBe('storage_full');
    expect(small.use()).toEqual({ usedBytes: 60_000, limitBytes: MAX_BYTES, files: 1 });
    expect(await small.files()).toHaveLength(1);
    await first.release();
    expect(await small.errorOf(url())).toBeUndefined();
    await small.close();
  });

  it('of an endless body does not grow memory', async () => {
    const limit = 300_000_000;
    current = flood(`${HEAD}\r\n`, Buffer.alloc(256 * 1024, 7));
    const large = await openedFor(server.port, { maxUploadBytes: limit, maxTemporaryBytes: limit });
    const before = process.memoryUsage.rss();
    let [most, seen] = [0, 0];
    const source = large.fromReference(url(), 'media');
    await expect(
      source.open({
        signal: new AbortController().signal,
        onProgress: (done) => {
          seen = done;
          most = Math.max(most, process.memoryUsage.rss() - before);
        },
      }),
    ).rejects.toMatchObject({ code: 'media_too_large' });
    expect(seen).toBeGreaterThan(limit - 1_000_000);
    expect(most).toBeLessThan(120_000_000);
    expect(large.use()).toMatchObject({ usedBytes: 0, files: 0 });
    await large.close();
  });
});
