import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { fakeCaptioner } from '../fixtures/fake-captioner.ts';
import { form, parseEvents, runningRequests } from '../fixtures/served-app.ts';
import { servedPerTest } from '../fixtures/served-per-test.ts';

const serve = servedPerTest();

/** 64 MB of words are far more than all buffers between us and a client that does not read. */
const LARGE = { words: Array.from({ length: 1000 }, () => 'w'.repeat(64 * 1024)) };
const SLOW = { words: Array.from({ length: 500 }, (_, index) => `word${index} `), wordDelayMs: 20 };

describe('a client that leaves', () => {
  it.each(['true', 'false'])('has its caption aborted and its upload removed (stream=%s)', async (stream) => {
    const captioner = fakeCaptioner(SLOW);
    const { url, uploads } = await serve(captioner);
    const controller = new AbortController();
    const response = fetch(`${url}/v1/captions`, {
      method: 'POST',
      body: form('x', { stream }),
      signal: controller.signal,
    });
    response.catch(() => undefined);
    await vi.waitFor(() => {
      expect(captioner.seen).toHaveLength(1);
    }, 20_000);
    expect(await uploads()).toHaveLength(1);
    controller.abort();
    await vi.waitFor(async () => {
      expect(captioner.endings).toEqual(['caption-aborted']);
      expect(await uploads()).toEqual([]);
    });
    expect(await (await fetch(`${url}/metrics`)).text()).toContain(
      'avocado_requests_total{outcome="aborted",finish_reason="aborted",class="interactive",code="aborted"} 1',
    );
  });

  it('in the middle of its upload leaves no file and never reaches the captioner', async () => {
    const captioner = fakeCaptioner();
    const { port, uploads, url } = await serve(captioner);
    const socket = await halfUpload(port);
    await vi.waitFor(async () => {
      expect(await uploads()).toHaveLength(1);
    });
    socket.destroy();
    await vi.waitFor(async () => {
      expect(await uploads()).toEqual([]);
    });
    expect(captioner.seen).toEqual([]);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
  });

  it('counts as gone when its upload stands still for too long', async () => {
    const { port, uploads } = await serve(fakeCaptioner(), { idleMs: 100 });
    const socket = await halfUpload(port);
    await new Promise((resolve) => socket.once('close', resolve));
    await vi.waitFor(async () => {
      expect(await uploads()).toEqual([]);
    });
  });

  it('without reading does not hold its caption up, and its request ends when it hangs up', async () => {
    const captioner = fakeCaptioner(LARGE);
    const { port, uploads, url } = await serve(captioner);
    const socket = requestWithoutReading(port);
    await vi.waitFor(async () => {
      expect(captioner.endings).toEqual(['caption-end']);
      expect(await uploads()).toEqual([]);
    }, 10_000);
    await sleep(300);
    expect(await runningRequests(url)).toBe(1); // its response is still open
    socket.destroy();
    await vi.waitFor(async () => {
      expect(await runningRequests(url)).toBe(0);
    }, 10_000);
  }, 30_000);
});

function formText(options: string, file: string): string {
  return `--b\r\ncontent-disposition: form-data; name="options"\r\n\r\n${options}\r\n--b\r\ncontent-disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n${file}\r\n--b--\r\n`;
}

/** A client that asks for a stream and never reads it. */
function requestWithoutReading(port: number): Socket {
  const body = formText('{"stream": true}', 'x');
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.pause();
  socket.write(
    `POST /v1/captions HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  return socket;
}

/** Sends a part of an upload that says it is larger, and waits. */
async function halfUpload(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.resume();
  await new Promise((resolve) => socket.once('connect', resolve));
  socket.write(
    'POST /v1/captions HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000000\r\n\r\n',
  );
  socket.write(`--b\r\ncontent-disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n${'x'.repeat(200_000)}`);
  return socket;
}

describe('a stop', () => {
  it('lets a running caption end, answers new ones 503 and then removes the directory of uploads', async () => {
    const captioner = fakeCaptioner({ wordDelayMs: 300 });
    const { url, stop, directories } = await serve(captioner, { drainMs: 5000 });
    const running = fetch(`${url}/v1/captions`, { method: 'POST', body: form('x', { stream: 'true' }) });
    await vi.waitFor(() => {
      expect(captioner.seen).toHaveLength(1);
    });
    const stopped = stop();
    await sleep(20);
    const refused = await fetch(`${url}/v1/captions`, { method: 'POST', body: form('y') });
    expect([refused.status, refused.headers.get('x-should-retry'), refused.headers.get('retry-after')]).toEqual([
      503,
      'true',
      '5',
    ]);
    expect(await refused.json()).toMatchObject({ error: { code: 'engine_unavailable' } });
    expect((await fetch(`${url}/readyz`)).status).toBe(503);
    const { events } = parseEvents(await (await running).text());
    expect(events.at(-1)!.event).toBe('caption-end');
    await stopped;
    expect(await directories()).toEqual([]);
  });

  /** A server that was told to stop while it has a caption to end. */
  async function stopWhileItCaptions(drainMs: number) {
    const captioner = fakeCaptioner(SLOW);
    const { url, port, stop } = await serve(captioner, { drainMs });
    const running = fetch(`${url}/v1/captions`, { method: 'POST', body: form('x') });
    await vi.waitFor(() => {
      expect(captioner.seen).toHaveLength(1);
    });
    return { port, running, stopped: stop() };
  }

  it('answers 503 to a client that is still sending a form, and closes its connection after the form', async () => {
    const { port, running, stopped } = await stopWhileItCaptions(3000);
    await sleep(20);
    const socket = await halfUpload(port);
    let told = '';
    socket.on('data', (bytes: Buffer) => {
      told += bytes.toString();
    });
    await vi.waitFor(() => {
      expect(told).toMatch(/^HTTP\/1\.1 503 [^]*connection: close[^]*"engine_unavailable"/i);
    });
    await sleep(200);
    expect(socket.readableEnded).toBe(false);
    const ended = new Promise((resolve) => socket.once('end', resolve));
    socket.write('x'.repeat(800_000));
    await ended;
    await running;
    await stopped;
  });

  it('does not wait for the rest of a form that it refused', async () => {
    const { port, running, stopped } = await stopWhileItCaptions(300);
    const startedMs = performance.now();
    const socket = await halfUpload(port);
    await stopped;
    expect(performance.now() - startedMs).toBeLessThan(5000);
    socket.destroy();
    await running;
  });

  it('waits as long as it is told, also beyond ten seconds', async () => {
    const captioner = fakeCaptioner({ words: ['It ', 'takes ', 'long.'], wordDelayMs: 4000 });
    const { url, stop, uploads } = await serve(captioner, { drainMs: 60_000 });
    const running = fetch(`${url}/v1/captions`, { method: 'POST', body: form('x') });
    await vi.waitFor(() => {
      expect(captioner.seen).toHaveLength(1);
    });
    const stopped = stop();
    await sleep(11_000);
    expect(await uploads()).toHaveLength(1);
    const response = await running;
    expect([response.status, await response.json()]).toMatchObject([200, { caption: 'It takes long.' }]);
    await stopped;
  });

  it('does not wait for a client that does not read its caption', async () => {
    const captioner = fakeCaptioner(LARGE);
    const { port, stop, directories } = await serve(captioner, { drainMs: 50 });
    const socket = requestWithoutReading(port);
    await vi.waitFor(() => {
      expect(captioner.endings).toEqual(['caption-end']);
    }, 10_000);
    await stop();
    expect(await directories()).toEqual([]);
    socket.destroy();
  }, 30_000);

  it('tells those still running after the deadline that they were aborted', async () => {
    const captioner = fakeCaptioner(SLOW);
    const { url, stop } = await serve(captioner, { drainMs: 50 });
    const send = (stream: string): Promise<Response> =>
      fetch(`${url}/v1/captions`, { method: 'POST', body: form('x', { stream }) });
    const [streamed, plain] = [send('true'), send('false')];
    await vi.waitFor(() => {
      expect(captioner.seen).toHaveLength(2);
    });
    await stop();
    expect(parseEvents(await (await streamed).text()).events.at(-1)!.event).toBe('caption-aborted');
    expect((await plain).status).toBe(503);
    expect(captioner.endings).toEqual(['caption-aborted', 'caption-aborted']);
  });
});
