import { describe, expect, it, vi } from 'vitest';
import { fakeCaptioner } from '../fixtures/fake-captioner.ts';
import { form, parseEvents } from '../fixtures/served-app.ts';
import { servedPerTest } from '../fixtures/served-per-test.ts';

const serve = servedPerTest();

interface ErrorBody {
  error: { message: string; type: string; param: string | null; code: string };
}

async function post(url: string, body: FormData, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${url}/v1/captions`, { method: 'POST', body, headers });
}

describe('POST /v1/captions with an upload', () => {
  it('answers one JSON object with caption, usage, media, profile, timings and model', async () => {
    const captioner = fakeCaptioner();
    const { url, uploads } = await serve(captioner);
    const response = await post(url, form('the bytes'));
    expect(response.status).toBe(200);
    const body = (await response.json()) as Record<string, unknown>;
    expect(body).toMatchObject({
      id: response.headers.get('x-request-id'),
      caption: 'A red ball rolls.\nMüße 🎈',
      finish_reason: 'stop',
      usage: {
        prompt_tokens: 150,
        completion_tokens: 6,
        total_tokens: 156,
        prompt_tokens_details: { text_tokens: 26, video_tokens: 24, audio_tokens: 100, image_tokens: 0 },
      },
      media: {
        kind: 'video',
        duration_seconds: 4,
        video: { frames: 8, sample_fps: 2, source_width: 160 },
        audio: { present: true, used: true },
        warnings: [],
      },
      profile: 'nano@1',
      timings: {
        total_seconds: expect.any(Number) as number,
        stages: { fetch: expect.any(Number) as number, queue: expect.any(Number) as number, audio_tower: 0.02 },
      },
      model: 'fake-nano',
    });
    expect(body).not.toHaveProperty('token_ids');
    expect(captioner.seen[0]!.bytes.toString()).toBe('the bytes');
    expect(captioner.seen[0]!.request.path).toMatch(/\.mp4$/);
    expect(await uploads()).toEqual([]);
  });

  it('answers segments with their times: whole, as events, as subtitles, and as a timeline for chat clients', async () => {
    const segments = [
      { start: 0, end: 44.04 },
      { start: 44.04, end: 3600.5 },
    ];
    const { url } = await serve(fakeCaptioner({ words: ['A ball.'], segments }));
    const fields = { segments: 'auto' };
    const body = (await (await post(url, form('x', fields))).json()) as Record<string, unknown>;
    const timeline = '[00:00:00.000 – 00:00:44.040]\nA ball.\n\n[00:00:44.040 – 01:00:00.500]\nA ball.';
    const second = { index: 1, start: 44.04, end: 3600.5, start_time: '00:00:44.040', end_time: '01:00:00.500' };
    expect(body).toMatchObject({
      caption: timeline,
      segments: [{ index: 0 }, { ...second, caption: 'A ball.', finish_reason: 'stop', usage: { prompt_tokens: 150 } }],
    });
    const stream = parseEvents(await (await post(url, form('x', { ...fields, stream: 'true' }))).text());
    const told = stream.events.filter(({ event }) => event !== 'stage');
    expect(told.map(({ event }) => event)).toEqual([
      ...['media', 'segment-start', 'text-delta', 'segment-end'],
      ...['segment-start', 'text-delta', 'segment-end', 'caption-end'],
    ]);
    expect(told[4]?.data).toMatchObject(second);
    expect(told[5]?.data).toMatchObject({ segment: 1, text: 'A ball.' });
    expect(told[6]?.data).toMatchObject({ ...second, caption: 'A ball.' });
    const vtt = await post(url, form('x', fields), { accept: 'text/vtt' });
    expect(vtt.headers.get('content-type')).toBe('text/vtt; charset=utf-8');
    expect(await vtt.text()).toBe(
      'WEBVTT\n\n1\n00:00:00.000 --> 00:00:44.040\nA ball.\n\n2\n00:00:44.040 --> 01:00:00.500\nA ball.\n',
    );
    const srt = await post(url, form('x', fields), { accept: 'application/x-subrip' });
    expect([srt.headers.get('content-type'), (await srt.text()).slice(0, 40)]).toEqual([
      'application/x-subrip; charset=utf-8',
      '1\n00:00:00,000 --> 00:00:44,040\nA ball.\n',
    ]);
    const content = [{ type: 'video_url', video_url: { url: 'data:video/mp4;base64,AAAA' } }];
    const chat = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ messages: [{ role: 'user', content }], segments: 60, stream: true }),
    });
    const chunks = (await chat.text()).split('\n').filter((line) => line.startsWith('data: {'));
    const texts = chunks.map((line) => {
      const { choices } = JSON.parse(line.slice(6)) as { choices: { delta: { content?: string } }[] };
      return choices[0]?.delta.content ?? '';
    });
    expect(texts.join('')).toBe(timeline);
    const refused = await post(url, form('x', { ...fields, n: '2' }));
    expect(((await refused.json()) as ErrorBody).error).toMatchObject({ code: 'bad_request', param: 'n' });
  });

  it('reads options from fields and from one JSON field, before or after the file', async () => {
    const captioner = fakeCaptioner();
    const { url } = await serve(captioner);
    const data = form('x', {
      prompt: 'What is heard?',
      temperature: '0.5',
      audio: 'false',
      options: '{"max_tokens": 9, "processor_fps": 1.5}',
    });
    data.append('stop', 'END');
    data.append('stop', 'FIN');
    data.append('token_ids', 'true');
    const body = (await (await post(url, data)).json()) as { token_ids: number[]; token_logprobs: number[] };
    expect(captioner.seen[0]!.request).toMatchObject({
      prompt: 'What is heard?',
      useAudio: false,
      maxTokens: 9,
      stop: ['END', 'FIN'],
      sampling: { temperature: 0.5, topP: 1, topK: 0 },
      profile: { processorFps: 1.5 },
    });
    expect(body.token_ids).toHaveLength(6);
    expect(body.token_logprobs).toHaveLength(6);
  });

  it.each([
    [{ top_p: '2' }, 'top_p', 'bad_request'],
    [{ max_tokens: 'many' }, 'max_tokens', 'bad_request'],
    [{ max_tokens: '1.5' }, 'max_tokens', 'bad_request'],
    [{ prompt_id: '0' }, 'prompt_id', 'bad_request'],
    [{ prompt: 'a', prompt_id: '2' }, 'prompt_id', 'bad_request'],
    [{ audio: 'maybe' }, 'audio', 'bad_request'],
    [{ tempreature: '1' }, 'tempreature', 'unknown_field'],
    [{ options: '{"no_such": 1}' }, 'no_such', 'unknown_field'],
    [{ options: '{' }, 'options', 'bad_request'],
    [{ options: '{"fps": 1}', fps: '2' }, 'fps', 'bad_request'],
  ])('refuses %j, naming %s', async (fields, param, code) => {
    const { url, uploads } = await serve(fakeCaptioner());
    const response = await post(url, form('x', fields));
    expect(response.status).toBe(400);
    expect(response.headers.get('x-should-retry')).toBe('false');
    const { error } = (await response.json()) as ErrorBody;
    expect(error).toMatchObject({ code, param, type: 'invalid_request_error' });
    expect(error.message).toContain(param);
    expect(await uploads()).toEqual([]);
  });

  it('refuses a form without a file, with two, or with another file field', async () => {
    const { url, uploads } = await serve(fakeCaptioner());
    const none = new FormData();
    none.append('prompt', 'x');
    const two = form('a');
    two.append('file', new Blob(['b']), 'b.mp4');
    const other = form('a');
    other.append('video', new Blob(['b']), 'b.mp4');
    const text = new FormData();
    text.append('file', 'clip.mp4');
    for (const [data, word] of [
      [none, 'no file'],
      [two, 'twice'],
      [other, 'video'],
      [text, 'not text'],
    ] as const) {
      const response = await post(url, data);
      expect(response.status).toBe(400);
      expect(((await response.json()) as ErrorBody).error.message).toContain(word);
    }
    expect(await uploads()).toEqual([]);
  });

  it('refuses an upload over the limit with 413 and removes what had arrived', async () => {
    const captioner = fakeCaptioner();
    const { url, uploads } = await serve(captioner, { maxUploadBytes: 100_000 });
    const byStream = await post(url, form(new Uint8Array(150_000)));
    const byLength = await post(url, form(new Uint8Array(3_000_000)));
    for (const response of [byStream, byLength]) {
      expect(response.status).toBe(413);
      expect(((await response.json()) as ErrorBody).error).toMatchObject({ code: 'media_too_large', param: 'file' });
    }
    expect((await post(url, form(new Uint8Array(100_000)))).status).toBe(200);
    expect(captioner.seen).toHaveLength(1);
    expect(await uploads()).toEqual([]);
  });

  it('refuses what can never fit with 413, also while others have the room', async () => {
    let end: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (end = resolve));
    const after = vi.fn(() => held);
    const { url } = await serve(fakeCaptioner({ after }), { maxTemporaryBytes: 2_000_000 });
    const first = post(url, form(new Uint8Array(1_500_000)));
    await vi.waitFor(() => {
      expect(after).toHaveBeenCalled(); // so all of it has arrived
    });
    expect((await post(url, form(new Uint8Array(1_000_000)))).status).toBe(503);
    expect((await post(url, form(new Uint8Array(4_000_000)))).status).toBe(413);
    end();
    expect((await first).status).toBe(200);
  });

  it('gives an error of the captioner its status, and the file the name the client gave it', async () => {
    const { url } = await serve(
      fakeCaptioner({ error: { code: 'media_undecodable', message: (path) => `${path} cannot be decoded.` } }),
    );
    const response = await post(url, form('x', {}, 'holiday.mov'));
    expect(response.status).toBe(422);
    expect(await response.json()).toEqual({
      error: {
        message: 'holiday.mov cannot be decoded.',
        type: 'invalid_request_error',
        param: null,
        code: 'media_undecodable',
      },
    });
  });

  it('takes a file without a name', async () => {
    const { url } = await serve(
      fakeCaptioner({ error: { code: 'media_undecodable', message: (path) => `${path} cannot be decoded.` } }),
    );
    const body =
      '--b\r\nContent-Disposition: form-data; name="file"\r\nContent-Type: application/octet-stream\r\n\r\nabc\r\n--b--\r\n';
    const response = await fetch(`${url}/v1/captions`, {
      method: 'POST',
      headers: { 'content-type': 'multipart/form-data; boundary=b' },
      body,
    });
    expect(((await response.json()) as ErrorBody).error.message).toBe('the upload cannot be decoded.');
  });

  it('never shows its own path, whatever the client calls the file', async () => {
    const { url } = await serve(
      fakeCaptioner({ error: { code: 'media_undecodable', message: (path) => `${path} cannot be decoded.` } }),
    );
    const body = (await (await post(url, form('x', {}, '$&.mov'))).json()) as ErrorBody;
    expect(body.error.message).toBe('$&.mov cannot be decoded.');
  });

  it('names the file as the client did in warnings too', async () => {
    const { url } = await serve(fakeCaptioner({ warning: (path) => `${path} ends early.` }));
    const body = (await (await post(url, form('x', {}, 'cut.mp4'))).json()) as { media: { warnings: string[] } };
    expect(body.media.warnings).toEqual(['cut.mp4 ends early.']);
  });

  it('answers 500 and goes on when the captioner breaks its promise and throws', async () => {
    const { url, uploads } = await serve(fakeCaptioner({ throws: new Error('out of cheese') }));
    const response = await post(url, form('x'));
    expect(response.status).toBe(500);
    expect(((await response.json()) as ErrorBody).error).toMatchObject({ code: 'internal', type: 'server_error' });
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    expect(await uploads()).toEqual([]);
  });
});

describe('an event stream', () => {
  it.each([
    ['stream=true', { stream: 'true' }, {}],
    ['Accept: text/event-stream', {}, { accept: 'text/event-stream' }],
  ])('comes with %s: stages, media, words, and exactly one ending', async (_name, fields, headers) => {
    const { url, uploads } = await serve(fakeCaptioner());
    const response = await post(url, form('x', fields), headers);
    expect(response.headers.get('content-type')).toContain('text/event-stream');
    const { events } = parseEvents(await response.text());
    expect(events.map(({ event }) => event)).toEqual([
      'stage',
      'media',
      'text-delta',
      'text-delta',
      'text-delta',
      'text-delta',
      'text-delta',
      'caption-end',
    ]);
    expect(events.map(({ id }) => id)).toEqual(['1', '2', '3', '4', '5', '6', '7', '8']);
    const deltas = events.filter(({ event }) => event === 'text-delta').map(({ data }) => data['text']);
    const end = events.at(-1)!.data;
    expect(deltas.join('')).toBe(end['caption']);
    expect(end).toMatchObject({
      id: response.headers.get('x-request-id'),
      finish_reason: 'stop',
      usage: { total_tokens: 156 },
    });
    expect(await uploads()).toEqual([]);
  });

  it('is not sent when stream=false, whatever is accepted', async () => {
    const { url } = await serve(fakeCaptioner());
    const response = await post(url, form('x', { stream: 'false' }), { accept: 'text/event-stream' });
    expect(response.headers.get('content-type')).toContain('application/json');
  });

  it('ends in caption-error with the same error object as an answer would have', async () => {
    const { url } = await serve(
      fakeCaptioner({ error: { code: 'media_no_streams', message: () => 'Nothing to see or hear.' } }),
    );
    const { events } = parseEvents(await (await post(url, form('x', { stream: 'true' }))).text());
    expect(events.at(-1)).toMatchObject({
      event: 'caption-error',
      data: {
        error: {
          code: 'media_no_streams',
          message: 'Nothing to see or hear.',
          param: null,
          type: 'invalid_request_error',
        },
      },
    });
    expect(events.filter(({ event }) => event.startsWith('caption-'))).toHaveLength(1);
  });

  it('ends in caption-error when the captioner throws', async () => {
    const { url } = await serve(fakeCaptioner({ throws: new Error('out of cheese') }));
    const { events } = parseEvents(await (await post(url, form('x', { stream: 'true' }))).text());
    expect(events.map(({ event }) => event)).toEqual(['stage', 'caption-error']);
  });

  it('refuses a bad request with a status, before any event', async () => {
    const { url } = await serve(fakeCaptioner());
    expect((await post(url, form('x', { stream: 'true', fps: '0' }))).status).toBe(400);
  });

  it('stays awake through silence with comments', async () => {
    const { url } = await serve(fakeCaptioner({ words: ['slow'], wordDelayMs: 250 }), { heartbeatMs: 40 });
    const { events, comments } = parseEvents(await (await post(url, form('x', { stream: 'true' }))).text());
    expect(comments).toBeGreaterThanOrEqual(3);
    expect(events.at(-1)!.event).toBe('caption-end');
  });
});

describe('every other path', () => {
  it('is refused in the same shape: unknown, wrong method, wrong type, broken JSON, no body, broken URL', async () => {
    const { url } = await serve(fakeCaptioner());
    const cases: [string, RequestInit, number, string][] = [
      ['/v2/nothing', {}, 404, 'not_found'],
      ['/v1/captions', {}, 405, 'method_not_allowed'],
      ['/healthz', { method: 'POST' }, 405, 'method_not_allowed'],
      ['/v1/models/some', { method: 'PUT' }, 405, 'method_not_allowed'],
      ['/v1/models/some/more', {}, 404, 'not_found'],
      ['/v1/captions', { method: 'POST', body: 'x', headers: { 'content-type': 'text/plain' } }, 400, 'bad_request'],
      [
        '/v1/captions',
        { method: 'POST', body: '{', headers: { 'content-type': 'application/json' } },
        400,
        'bad_request',
      ],
      ['/v1/captions', { method: 'POST' }, 400, 'bad_request'],
      [
        '/v1/captions',
        { method: 'POST', body: '[]', headers: { 'content-type': 'application/json' } },
        400,
        'bad_request',
      ],
      [
        '/v1/captions',
        { method: 'POST', body: 'x', headers: { 'content-type': 'multipart/form-data' } },
        400,
        'bad_request',
      ],
      ['/%', {}, 400, 'bad_request'],
      ['/v1/captions', { method: 'POST', body: form('x', { constructor: 'x' }) }, 400, 'bad_request'],
      [
        '/v1/captions',
        {
          method: 'POST',
          body: '--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nhalf',
          headers: { 'content-type': 'multipart/form-data; boundary=b' },
        },
        400,
        'bad_request',
      ],
    ];
    for (const [path, init, status, code] of cases) {
      const response = await fetch(`${url}${path}`, init);
      expect([path, init.method, response.status]).toEqual([path, init.method, status]);
      expect(((await response.json()) as ErrorBody).error).toMatchObject({
        code,
        message: expect.stringMatching(/\.$/) as string,
      });
      expect(response.headers.get('x-request-id')).toMatch(/^cap-/);
    }
    expect((await fetch(`${url}/v1/captions`)).headers.get('allow')).toBe('POST');
  });
});
