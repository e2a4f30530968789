// What a client sees of admission, queue, deadlines and estimates.
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { fakeCaptioner } from '../fixtures/fake-captioner.ts';
import { form, parseEvents } from '../fixtures/served-app.ts';
import { servedPerTest } from '../fixtures/served-per-test.ts';

const serve = servedPerTest();
let films: Server | undefined;

afterEach(() => {
  films?.closeAllConnections();
  films?.close();
  films = undefined;
});

interface ErrorBody {
  error: { message: string; type: string; param: string | null; code: string };
}

const SLOW = { words: Array.from({ length: 500 }, (_, index) => `word${index} `), wordDelayMs: 20 };

async function postJson(url: string, body: object, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(url, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json', ...headers },
  });
}

/** A server whose film comes in pieces. @returns the film's URL */
async function filmServer(pieces: number, delayMs: number): Promise<string> {
  films = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'video/mp4', 'content-length': pieces * 1000 });
    void (async () => {
      for (let piece = 0; piece < pieces && !response.closed; piece += 1) {
        response.write('x'.repeat(1000));
        await sleep(delayMs);
      }
      response.end();
    })();
  });
  await new Promise<void>((resolve) => films!.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(films.address() as AddressInfo).port}/film.mp4`;
}

/** Settings with which the film server may be asked. */
function allowing(film: string): { readonly allowCidrs: readonly string[]; readonly urlHosts: readonly string[] } {
  return { allowCidrs: ['127.0.0.0/8'], urlHosts: [new URL(film).host] };
}

const LONG_PROMPT = { text: 1e7, video: 0, audio: 0, image: 0, total: 1e7 };

describe('a full server', () => {
  it('answers 429 with the seconds to wait, before it has read the body, and counts why', async () => {
    const captioner = fakeCaptioner(SLOW);
    const { url, port } = await serve(captioner, { maxRequests: 1 });
    const controller = new AbortController();
    const running = fetch(`${url}/v1/captions`, {
      method: 'POST',
      body: form('x', { stream: 'true' }),
      signal: controller.signal,
    });
    await vi.waitFor(() => {
      expect(captioner.seen).toHaveLength(1);
    });
    const refused = await fetch(`${url}/v1/captions`, { method: 'POST', body: form('y') });
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(refused.headers.get('x-should-retry')).toBe('true');
    expect(((await refused.json()) as ErrorBody).error.code).toBe('queue_full');

    const answer = new Promise<string>((resolve) => {
      const socket = connect(port, '127.0.0.1');
      socket.setEncoding('utf8');
      socket.once('data', (text: string) => {
        resolve(text);
        socket.destroy();
      });
      socket.write(
        'POST /v1/captions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{"media": "data:',
      );
    });
    expect(await answer).toMatch(/^HTTP\/1\.1 429 /);
    expect(await (await fetch(`${url}/metrics`)).text()).toContain(
      'avocado_requests_rejected_total{reason="queue_count"} 2',
    );
    controller.abort();
    await running.then((response) => response.text()).catch(() => undefined);
  });

  it('answers 429 to what turns out to be too much, and an event stream with the same error', async () => {
    const captioner = fakeCaptioner((request) =>
      request.maxTokens === 1 ? { estimate: { promptTokens: LONG_PROMPT } } : SLOW,
    );
    const { url, uploads } = await serve(captioner);
    const controller = new AbortController();
    const running = fetch(`${url}/v1/captions`, {
      method: 'POST',
      body: form('x', { stream: 'true' }),
      signal: controller.signal,
    });
    await vi.waitFor(() => {
      expect(captioner.seen).toHaveLength(1);
    });
    const refused = await fetch(`${url}/v1/captions`, { method: 'POST', body: form('y', { max_tokens: '1' }) });
    expect([refused.status, ((await refused.json()) as ErrorBody).error.code]).toEqual([429, 'queue_full']);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    const { events } = parseEvents(
      await (
        await fetch(`${url}/v1/captions`, { method: 'POST', body: form('y', { max_tokens: '1', stream: 'true' }) })
      ).text(),
    );
    expect(events.at(-1)).toMatchObject({ event: 'caption-error', data: { error: { code: 'queue_full' } } });
    expect(captioner.seen).toHaveLength(1);
    controller.abort();
    await running.then((response) => response.text()).catch(() => undefined);
    await vi.waitFor(async () => {
      expect(await uploads()).toEqual([]);
    });
  });

  it('tells those who wait how many go before them', async () => {
    const { url } = await serve(fakeCaptioner({ wordDelayMs: 150 }), { prepareAhead: 0 });
    const streams = await Promise.all(
      ['a', 'b', 'c', 'd'].map(async (name) => {
        const response = await fetch(`${url}/v1/captions`, { method: 'POST', body: form(name, { stream: 'true' }) });
        return parseEvents(await response.text()).events;
      }),
    );
    const places = streams.map((events) =>
      events.filter(({ data }) => data['stage'] === 'queued').map(({ data }) => data['total']),
    );
    expect(places.filter((told) => told.length === 0)).toHaveLength(2);
    expect(places.flat()).toContain(0);
    expect(streams.every((events) => events.at(-1)!.event === 'caption-end')).toBe(true);
  });
});

describe('a file named by its URL', () => {
  it('is fetched, with events on the way', async () => {
    const film = await filmServer(8, 100);
    const captioner = fakeCaptioner();
    const { url, uploads } = await serve(captioner, allowing(film));
    const { events } = parseEvents(await (await postJson(`${url}/v1/captions`, { media: film, stream: true })).text());
    const fetched = events
      .filter(({ data }) => data['stage'] === 'fetch')
      .map(({ data }) => [data['done'], data['total']]);
    expect(fetched[0]).toEqual([0, 0]);
    expect(fetched.length).toBeGreaterThan(2);
    expect(fetched.at(-1)![1]).toBe(8000);
    expect(captioner.seen[0]!.bytes).toHaveLength(8000);
    expect(events.at(-1)).toMatchObject({ event: 'caption-end' });
    expect(await uploads()).toEqual([]);
  });

  it('that does not come in time ends the request with 408, and leaves nothing', async () => {
    const film = await filmServer(1000, 50);
    const { url, uploads } = await serve(fakeCaptioner(), allowing(film));
    for (const [body, headers] of [
      [{ timeout: 1 }, {}],
      [{}, { 'x-request-timeout': '1' }],
    ] as const) {
      const response = await postJson(`${url}/v1/captions`, { media: film, ...body }, headers);
      expect(response.status).toBe(408);
      expect(((await response.json()) as ErrorBody).error).toMatchObject({
        code: 'deadline_exceeded',
        message: expect.stringContaining('fetching') as string,
      });
    }
    await vi.waitFor(async () => {
      expect(await uploads()).toEqual([]);
    });
    expect(await (await fetch(`${url}/metrics`)).text()).toContain('avocado_requests_cancelled_total{stage="fetch"} 2');
  });

  it('may be a data URL', async () => {
    const captioner = fakeCaptioner();
    const { url, uploads } = await serve(captioner);
    const bytes = Buffer.alloc(1_500_000, 7);
    const response = await postJson(`${url}/v1/captions`, {
      media: `data:video/mp4;base64,${bytes.toString('base64')}`,
    });
    expect(response.status).toBe(200);
    expect(captioner.seen[0]!.bytes.equals(bytes)).toBe(true);
    expect(await uploads()).toEqual([]);
  });
});

describe('bodies in memory', () => {
  it('hold no files: many data URLs at once are on disk while they arrive', async () => {
    const { url, port, uploads } = await serve(fakeCaptioner(), { maxMemoryBytes: 600_000 });
    const body = Buffer.from(JSON.stringify({ media: `data:video/mp4;base64,${'QUJD'.repeat(500_000)}` }));
    const answers = Array.from({ length: 6 }, () => {
      const socket = connect(port, '127.0.0.1');
      socket.write(
        `POST /v1/captions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`,
      );
      socket.write(body.subarray(0, -1));
      return {
        socket,
        answer: new Promise<string>((resolve) =>
          socket.once('data', (data) => {
            resolve(String(data));
          }),
        ),
      };
    });
    await vi.waitFor(
      async () => {
        expect(await uploads()).toHaveLength(6);
      },
      { timeout: 10_000 },
    );
    for (const { socket } of answers) socket.write(body.subarray(-1));
    for (const { socket, answer } of answers) {
      expect(await answer).toMatch(/^HTTP\/1\.1 200 /);
      socket.destroy();
    }
    await vi.waitFor(async () => {
      expect(await uploads()).toEqual([]);
    });
    expect((await postJson(`${url}/v1/captions`, { media: 'data:,a', prompt: 'x'.repeat(50_000) })).status).toBe(200);
  });

  it('are counted together: what is too much is refused with 503 and the seconds to wait', async () => {
    const { url } = await serve(fakeCaptioner(), { maxMemoryBytes: 40_000 });
    const requests = [
      postJson(`${url}/v1/captions`, { media: 'data:,a', prompt: 'x'.repeat(50_000) }),
      postJson(`${url}/v1/chat/completions`, { messages: 'x'.repeat(50_000) }),
      fetch(`${url}/v1/captions`, { method: 'POST', body: form('x') }),
    ];
    for (const response of await Promise.all(requests)) {
      expect([response.status, response.headers.get('retry-after')]).toEqual([503, '5']);
      expect(((await response.json()) as ErrorBody).error).toMatchObject({
        code: 'storage_full',
        message: expect.stringContaining('memory') as string,
      });
    }
    expect((await postJson(`${url}/v1/captions`, { media: 'data:,a' })).status).toBe(200);
  });
});

it('a body of a type that nobody reads is refused before it comes', async () => {
  const { port } = await serve(fakeCaptioner());
  const socket = connect(port, '127.0.0.1');
  socket.write(
    'POST /v1/captions HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 60000000\r\n\r\nx',
  );
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1\.1 400 [^]*Send multipart/);
  socket.destroy();
});

describe('a deadline', () => {
  it('has our answer at once, also while the engine does not stop', async () => {
    const captioner = fakeCaptioner();
    const submit: typeof captioner.submit = async (request, { admit }) => {
      await admit?.(await captioner.estimate(request));
      await new Promise(() => undefined); // native work that nothing ends
    };
    const { url, uploads } = await serve({ ...captioner, submit });
    const answers = Array.from({ length: 4 }, () =>
      fetch(`${url}/v1/captions`, { method: 'POST', body: form(Buffer.from('film'), { timeout: '0.3' }) }),
    );
    for (const response of await Promise.all(answers)) {
      expect(response.status).toBe(408);
      expect(await response.json()).toMatchObject({ error: { code: 'deadline_exceeded' } });
    }
    expect(await uploads()).toEqual([]);
  });
});

describe('fields of serving', () => {
  it.each([
    [{ timeout: 0 }, 'timeout'],
    [{ timeout: 5000 }, 'timeout'],
    [{ priority: 'urgent' }, 'priority'],
    [{ media: 'ftp://films.test/clip.mp4' }, 'media'],
  ])('%j is refused', async (fields, param) => {
    const { url } = await serve(fakeCaptioner());
    const response = await postJson(`${url}/v1/captions`, { media: 'data:video/mp4;base64,AAAA', ...fields });
    expect(response.status).toBe(400);
    expect(((await response.json()) as ErrorBody).error.param).toBe(param);
  });

  it('a header that is no number of seconds is refused too', async () => {
    const { url, uploads } = await serve(fakeCaptioner());
    const response = await fetch(`${url}/v1/captions`, {
      method: 'POST',
      body: form('x'),
      headers: { 'x-request-timeout': 'soon' },
    });
    expect([response.status, ((await response.json()) as ErrorBody).error.param]).toEqual([400, 'x-request-timeout']);
    expect(await uploads()).toEqual([]);
  });

  it('priority and the number of samples reach the captioner, and every delta tells its sample', async () => {
    const captioner = fakeCaptioner();
    const { url } = await serve(captioner);
    const { events } = parseEvents(
      await (
        await fetch(`${url}/v1/captions`, {
          method: 'POST',
          body: form('x', { stream: 'true', n: '2', priority: 'batch', temperature: '1' }),
        })
      ).text(),
    );
    expect(captioner.seen[0]!.request).toMatchObject({ samples: 2, priority: 'batch' });
    expect(events.filter(({ event }) => event === 'text-delta').map(({ data }) => data['index'])).toEqual([
      0, 1, 0, 1, 0, 1, 0, 1, 0, 1,
    ]);
  });
});

describe('DELETE /v1/captions/ID', () => {
  it.each(['true', 'false'])('ends the request with that id (stream=%s)', async (stream) => {
    const captioner = fakeCaptioner(SLOW);
    const { url } = await serve(captioner);
    const id = 'my-own-id-7';
    const running = fetch(`${url}/v1/captions`, {
      method: 'POST',
      body: form('x', { stream }),
      headers: { 'x-request-id': id },
    });
    await vi.waitFor(() => {
      expect(captioner.seen).toHaveLength(1);
    });
    expect((await fetch(`${url}/v1/captions/${id}`, { method: 'DELETE' })).status).toBe(204);
    const response = await running;
    if (stream === 'true') expect(parseEvents(await response.text()).events.at(-1)!.event).toBe('caption-aborted');
    else expect([response.status, ((await response.json()) as ErrorBody).error.code]).toEqual([499, 'aborted']);
    const again = await fetch(`${url}/v1/captions/${id}`, { method: 'DELETE' });
    expect([again.status, ((await again.json()) as ErrorBody).error.code]).toEqual([404, 'not_found']);
  });
});

describe('POST /v1/captions/estimate', () => {
  it('answers frames, tokens, budget and expected seconds, for an upload and for a reference', async () => {
    const captioner = fakeCaptioner();
    const { url, uploads } = await serve(captioner);
    const byForm = await fetch(`${url}/v1/captions/estimate`, {
      method: 'POST',
      body: form('x', { max_tokens: '100' }),
    });
    const byReference = await postJson(`${url}/v1/captions/estimate`, {
      media: 'data:video/mp4;base64,AAAA',
      max_tokens: 100,
    });
    for (const response of [byForm, byReference]) {
      expect(response.status).toBe(200);
      expect(await response.json()).toEqual({
        id: response.headers.get('x-request-id'),
        model: 'fake-nano',
        media: {
          kind: 'video',
          duration_seconds: 4,
          video: { frames: 8, sample_fps: 2, width: 84, height: 56, tokens: 24 },
          audio: { present: true, used: true, seconds: 4, tokens: 100 },
        },
        prompt_tokens: 150,
        prompt_tokens_details: { text_tokens: 26, video_tokens: 24, audio_tokens: 100, image_tokens: 0 },
        budget: { context: 4096, prompt: 150, left: 3946, max_tokens: 100, fits: true },
        expected_seconds: { work: expect.any(Number) as number, queue: 0 },
        profile: 'nano@1',
      });
    }
    expect(captioner.seen).toEqual([]);
    expect(await uploads()).toEqual([]);
  });

  it('tells a prompt that does not fit, and refuses bad files and fields as a caption would', async () => {
    const { url } = await serve(
      fakeCaptioner((request) =>
        request.maxTokens === 1
          ? { error: { code: 'media_undecodable', message: (path) => `${path} is broken.` } }
          : { estimate: { fits: false } },
      ),
    );
    const ask = (fields: Record<string, string>): Promise<Response> =>
      fetch(`${url}/v1/captions/estimate`, { method: 'POST', body: form('x', fields) });
    expect(await (await ask({})).json()).toMatchObject({ budget: { fits: false } });
    const broken = await ask({ max_tokens: '1' });
    expect([broken.status, ((await broken.json()) as ErrorBody).error.message]).toEqual([422, 'clip.mp4 is broken.']);
    expect((await ask({ top_p: '7' })).status).toBe(400);
  });
});
