// The chat API as bytes on a socket: what a client that is not OpenAI's own would see.
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { fakeCaptioner } from '../fixtures/fake-captioner.ts';
import { parseEvents, runningRequests } from '../fixtures/served-app.ts';
import { servedPerTest } from '../fixtures/served-per-test.ts';

const serve = servedPerTest();

const DATA = `data:video/mp4;base64,${Buffer.from('the bytes').toString('base64')}`;
const MESSAGES = [
  {
    role: 'user',
    content: [
      { type: 'video_url', video_url: { url: DATA } },
      { type: 'text', text: 'What is heard?' },
    ],
  },
];
const SLOW = { words: Array.from({ length: 500 }, (_, index) => `word${index} `), wordDelayMs: 20 };

async function post(
  url: string,
  fields: object = {},
  {
    path = '',
    headers = {},
    signal = null,
  }: { path?: string; headers?: Record<string, string>; signal?: AbortSignal | null } = {},
): Promise<Response> {
  return fetch(`${url}/v1/chat/completions${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ messages: MESSAGES, ...fields }),
    signal,
  });
}

interface Chunk {
  id: string;
  created: number;
  choices: { index: number; delta: { role?: string; content?: string }; finish_reason: string | null }[];
  usage?: { total_tokens: number } | null;
}

/** Lines of a stream: chunks and comments, with `[DONE]` cut off. */
async function streamed(response: Response): Promise<{ chunks: Chunk[]; text: string }> {
  const text = await response.text();
  expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
  const chunks = text
    .split('\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line) => JSON.parse(line.slice('data: '.length)) as Chunk);
  return { chunks, text };
}

describe('POST /v1/chat/completions', () => {
  it('captions the file of its one message', async () => {
    const captioner = fakeCaptioner();
    const { url, uploads } = await serve(captioner);
    const response = await post(url, {
      model: 'fake-nano',
      temperature: 0.5,
      max_completion_tokens: 9,
      stop: 'END',
      priority: 'batch',
    });
    expect(response.status).toBe(200);
    const id = response.headers.get('x-request-id')!;
    expect(await response.json()).toMatchObject({
      id: `chatcmpl-${id}`,
      object: 'chat.completion',
      model: 'fake-nano',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: 'A red ball rolls.\nMüße 🎈', refusal: null },
          logprobs: null,
          finish_reason: 'stop',
        },
      ],
      usage: { prompt_tokens: 150, completion_tokens: 6, total_tokens: 156 },
      system_fingerprint: 'fake-nano.fp32.nano@1',
      avocado: {
        profile: 'nano@1',
        media: { kind: 'video', duration_seconds: 4 },
        timings: { stages: { audio_tower: 0.02 } },
      },
    });
    expect(response.headers.get('x-avocado-ignored-fields')).toBeNull();
    const [seen] = captioner.seen;
    expect(seen!.bytes.toString()).toBe('the bytes');
    expect(seen!.request).toMatchObject({
      prompt: 'What is heard?',
      maxTokens: 9,
      stop: ['END'],
      sampling: { temperature: 0.5 },
      priority: 'batch',
      useAudio: true,
    });
    expect(await uploads()).toEqual([]);
  });

  it('takes base64 with a format, and a file with a name, which errors then show', async () => {
    const captioner = fakeCaptioner({
      error: { code: 'media_undecodable', message: (path) => `${path} cannot be decoded.` },
    });
    const { url } = await serve(captioner);
    const data = Buffer.from('sound').toString('base64');
    const send = async (part: object): Promise<unknown> =>
      (await post(url, { messages: [{ role: 'user', content: [part] }] })).json();
    expect(await send({ type: 'input_audio', input_audio: { data, format: 'wav' } })).toMatchObject({
      error: { code: 'media_undecodable' },
    });
    expect(await send({ type: 'file', file: { file_data: data, filename: 'my sound.wav' } })).toMatchObject({
      error: { message: 'my sound.wav cannot be decoded.' },
    });
    expect(captioner.seen.map(({ request: { path } }) => /\.\w+$/.exec(path)?.[0])).toEqual(['.wav', '.wav']);
  });

  it('names the fields it put aside in a header, however odd they are', async () => {
    const { url } = await serve(fakeCaptioner());
    const response = await post(url, {
      user: 'u',
      store: false,
      stream_options: { include_obfuscation: true },
      'x\r\ny: z': 1,
      ['n'.repeat(300)]: 1,
    });
    expect(response.status).toBe(200);
    expect(response.headers.get('x-avocado-ignored-fields')).toBe(
      `user, store, stream_options.include_obfuscation, x??y??z, ${'n'.repeat(64)}`,
    );
  });

  it.each([
    [{ model: 'gpt-4o' }, 404, 'model_not_found', 'model'],
    [{ tools: [{}] }, 400, 'unsupported_field', 'tools'],
    [{ temperature: 9 }, 400, 'bad_request', 'temperature'],
    [{ timeout: 1e9 }, 400, 'bad_request', 'timeout'],
    [{ prompt_id: 2 }, 400, 'bad_request', 'prompt_id'],
    [{ messages: [{ role: 'user', content: 'Describe.' }] }, 400, 'bad_request', 'messages[0].content'],
    [
      { messages: [{ role: 'user', content: [{ type: 'video_url', video_url: { url: 'file:///etc/passwd' } }] }] },
      400,
      'bad_request',
      'messages[0].content[0].video_url.url',
    ],
    [
      {
        messages: [{ role: 'user', content: [{ type: 'video_url', video_url: { url: 'http://127.0.0.1:1/a.mp4' } }] }],
      },
      403,
      'media_forbidden_host',
      'messages[0].content[0].video_url.url',
    ],
    [
      { messages: [{ role: 'user', content: [{ type: 'video_url', video_url: { url: 'data:video/mp4;base64,A' } }] }] },
      400,
      'bad_request',
      'messages[0].content[0].video_url.url',
    ],
  ])('refuses %j with %i %s naming %s, streamed or not', async (fields, status, code, param) => {
    const captioner = fakeCaptioner();
    const { url } = await serve(captioner);
    for (const stream of [false, true]) {
      const response = await post(url, { ...fields, stream });
      expect(response.status).toBe(status);
      expect(response.headers.get('x-should-retry')).toBe('false');
      expect(await response.json()).toMatchObject({
        error: { code, param, type: status === 403 ? 'permission_error' : 'invalid_request_error' },
      });
    }
    expect(captioner.seen).toEqual([]);
  });

  it.each([
    ['text/plain', 'hello'],
    ['application/json', '{"messages": '],
    ['application/json', ''],
    ['application/json', '[]'],
    ['multipart/form-data; boundary=b', '--b--\r\n'],
  ])('refuses a body of %s %j', async (type, body) => {
    const { url } = await serve(fakeCaptioner());
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': type },
      body,
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { code: 'bad_request' } });
  });

  it('names fields of the client in what the captioner complains about', async () => {
    const captioner = fakeCaptioner();
    const { url } = await serve({
      ...captioner,
      submit: async (_request, { onEvent }) => {
        const message = 'nframes asks for 900 frames.';
        onEvent({ type: 'caption-error', code: 'bad_request', message, param: 'nframes' });
      },
    });
    for (const stream of [false, true]) {
      const response = await post(url, { stream, media_io_kwargs: { video: { num_frames: 900 } } });
      expect(await response.json()).toMatchObject({
        error: { code: 'bad_request', param: 'media_io_kwargs.video.num_frames' },
      });
    }
  });
});

describe('a chat stream', () => {
  it('is unnamed data with one id and time, role first, reason last, then [DONE]', async () => {
    const { url } = await serve(fakeCaptioner());
    const response = await post(url, { stream: true });
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    const { chunks, text } = await streamed(response);
    expect(text).not.toMatch(/^(event|id|retry):/m);
    expect(new Set(chunks.map(({ id, created }) => `${id} ${created}`)).size).toBe(1);
    expect(chunks[0]!.id).toBe(`chatcmpl-${response.headers.get('x-request-id')!}`);
    expect(chunks[0]!.choices).toEqual([
      { index: 0, delta: { role: 'assistant', content: '', refusal: null }, logprobs: null, finish_reason: null },
    ]);
    expect(chunks.map(({ choices }) => choices[0]!.delta.content ?? '').join('')).toBe('A red ball rolls.\nMüße 🎈');
    expect(chunks.map(({ choices }) => choices[0]!.finish_reason).filter((reason) => reason !== null)).toEqual([
      'stop',
    ]);
    expect(chunks.at(-1)).toMatchObject({
      choices: [{ delta: {}, finish_reason: 'stop' }],
      avocado: { profile: 'nano@1', media: { kind: 'video' } },
    });
    expect(chunks.some((chunk) => 'usage' in chunk)).toBe(false);
  });

  it('tells the usage in a chunk of its own where it was asked for, and every sample under its index', async () => {
    const { url } = await serve(fakeCaptioner());
    const { chunks } = await streamed(await post(url, { stream: true, n: 2, stream_options: { include_usage: true } }));
    expect(chunks.at(-1)).toMatchObject({
      choices: [],
      usage: { prompt_tokens: 150, completion_tokens: 12, total_tokens: 162 },
    });
    expect(chunks.slice(0, -1).every(({ usage }) => usage === null)).toBe(true);
    const textOf = (index: number): string =>
      chunks
        .flatMap(({ choices }) => choices)
        .filter((choice) => choice.index === index)
        .map(({ delta }) => delta.content ?? '')
        .join('');
    expect([textOf(0), textOf(1)]).toEqual(['A red ball rolls.\nMüße 🎈', 'A red ball rolls.\nMüße 🎈']);
  });

  it('tells stages as comments, which no client of OpenAI reads, and is never silent for long', async () => {
    const { url } = await serve(fakeCaptioner({ words: ['A ', 'ball.'], wordDelayMs: 500 }), { heartbeatMs: 50 });
    const { text } = await streamed(await post(url, { stream: true }));
    expect(text).toContain(': probe 0/1\n\n');
    expect(text.match(/^: heartbeat$/gm)!.length).toBeGreaterThan(1);
  });

  it.each([
    ['?stage_events=true', {}],
    ['', { 'x-avocado-stage-events': 'true' }],
  ])('tells stages as named events to whoever asks (%s %j)', async (path, headers) => {
    const { url } = await serve(fakeCaptioner());
    const { text } = await streamed(await post(url, { stream: true }, { path, headers }));
    const { events } = parseEvents(text.replace('data: [DONE]\n\n', ''));
    expect(events[0]).toMatchObject({ event: 'stage', data: { stage: 'probe', done: 0, total: 1 } });
    expect(events.filter(({ event }) => event === 'message').length).toBeGreaterThan(5);
  });

  it('that fails before its first chunk is an HTTP error, not a stream', async () => {
    const { url } = await serve(
      fakeCaptioner({ error: { code: 'media_undecodable', message: () => 'The clip is broken.' } }),
    );
    const response = await post(url, { stream: true });
    expect([response.status, response.headers.get('x-should-retry')]).toEqual([422, 'false']);
    expect(response.headers.get('content-type')).toMatch(/^application\/json/);
    expect(await response.json()).toMatchObject({
      error: { code: 'media_undecodable', message: 'The clip is broken.' },
    });
  });

  it('that fails later ends in one error and [DONE]', async () => {
    const captioner = fakeCaptioner();
    const { url } = await serve({
      ...captioner,
      submit: (request, options) =>
        captioner.submit(request, {
          ...options,
          onEvent: (event) => {
            const message = 'The engine stopped.';
            const failed = { type: 'caption-error', code: 'engine_unavailable', message } as const;
            options.onEvent(event.type === 'caption-end' ? failed : event);
          },
        }),
    });
    const { chunks, text } = await streamed(await post(url, { stream: true }));
    expect(chunks.at(-1)).toEqual({
      error: { message: 'The engine stopped.', type: 'server_error', param: null, code: 'engine_unavailable' },
    });
    expect(text.match(/"error"/g)).toHaveLength(1);
  });

  it('of a server that stops says so', async () => {
    const { url, stop } = await serve(fakeCaptioner(SLOW), { drainMs: 50 });
    const response = await post(url, { stream: true });
    await stop();
    const { chunks } = await streamed(response);
    expect(chunks.at(-1)).toMatchObject({ error: { code: 'engine_unavailable', type: 'server_error' } });
  });

  it('that runs out of its time says so', async () => {
    const { url } = await serve(fakeCaptioner(SLOW));
    const { chunks } = await streamed(await post(url, { stream: true, timeout: 3 }));
    expect(chunks[0]).toMatchObject({ choices: [{ delta: { role: 'assistant' } }] });
    expect(chunks.at(-1)).toMatchObject({ error: { code: 'deadline_exceeded' } });
    const plain = await post(url, { timeout: 0.2 });
    expect(plain.status).toBe(408);
  });
});

describe('a client that leaves a chat', () => {
  it.each([true, false])('has its caption aborted and its file removed (stream=%s)', async (stream) => {
    const captioner = fakeCaptioner(SLOW);
    const { url, uploads } = await serve(captioner);
    const controller = new AbortController();
    const response = post(url, { stream }, { signal: controller.signal });
    response.catch(() => undefined);
    await vi.waitFor(() => {
      expect(captioner.seen).toHaveLength(1);
    }, 10_000);
    if (stream) await response;
    controller.abort();
    await vi.waitFor(async () => {
      expect(captioner.endings).toEqual(['caption-aborted']);
      expect(await uploads()).toEqual([]);
    }, 10_000);
  });

  it('without reading does not hold its caption up, and its request ends when it hangs up', async () => {
    const captioner = fakeCaptioner({ words: Array.from({ length: 1000 }, () => 'w'.repeat(64 * 1024)) });
    const { url } = await serve(captioner, { heartbeatMs: 10 });
    const controller = new AbortController();
    // Kept in a variable: a response that is garbage collected closes its connection.
    const response = await post(url, { stream: true }, { signal: controller.signal });
    await vi.waitFor(() => {
      expect(captioner.endings).toEqual(['caption-end']);
    }, 10_000);
    await sleep(300);
    expect(await runningRequests(url)).toBe(1); // its response is still open
    expect(response.bodyUsed).toBe(false);
    controller.abort();
    await vi.waitFor(async () => {
      expect(await runningRequests(url)).toBe(0);
    }, 10_000);
  }, 30_000);
});

describe('GET /v1/models', () => {
  it('lists the one model, and tells it by its name', async () => {
    const { url } = await serve(fakeCaptioner());
    const list = (await (await fetch(`${url}/v1/models`)).json()) as { object: string; data: object[] };
    expect(list).toMatchObject({
      object: 'list',
      data: [{ id: 'fake-nano', object: 'model', owned_by: 'avocado', max_model_len: 4096 }],
    });
    expect(await (await fetch(`${url}/v1/models/fake-nano`)).json()).toEqual(list.data[0]);
    const response = await fetch(`${url}/v1/models/gpt-4o`);
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ error: { code: 'model_not_found' } });
  });
});
