// OpenAI's own clients, unmodified, against the bundled model: what their users would see.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type OpenAI from 'openai';
import type { ChatCompletion, ChatCompletionChunk } from 'openai/resources/chat/completions';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { captionRequest } from '../../src/captioner/caption-options.ts';
import { captionEvents, type Captioner } from '../../src/captioner/captioner.ts';
import { openCaptioner } from '../../src/captioner/open-captioner.ts';
import type { CaptionEnd } from '../../src/output/events.ts';
import { examplePath, WIDE } from '../fixtures/examples.ts';
import { fakeCaptioner } from '../fixtures/fake-captioner.ts';
import { NANO_EXAMPLES, nanoSettings } from '../fixtures/nano.ts';
import { describeClients, type Client } from '../fixtures/openai-clients.ts';
import { serveApp, type ServedApp } from '../fixtures/served-app.ts';

type Body = OpenAI.ChatCompletionCreateParamsNonStreaming;

let captioner: Captioner;
let app: ServedApp;
let truth: CaptionEnd;

beforeAll(async () => {
  captioner = await openCaptioner(nanoSettings());
  app = await serveApp(captioner, { mediaRoots: [`clips=${NANO_EXAMPLES}`] });
  for await (const event of captionEvents(captioner, captionRequest(examplePath(WIDE), {})))
    if (event.type === 'caption-end') truth = event;
});

afterAll(async () => {
  await app.close();
  await captioner.close();
});

/** `video_url` is vLLM's and not in OpenAI's types; clients send it as it is. */
function messages(url: string, text?: string): Body['messages'] {
  const content = [{ type: 'video_url', video_url: { url } }, ...(text === undefined ? [] : [{ type: 'text', text }])];
  return [{ role: 'user', content }] as unknown as Body['messages'];
}

const ROOT = messages(`media://clips/${WIDE}`);

async function collect(stream: AsyncIterable<ChatCompletionChunk>): Promise<ChatCompletionChunk[]> {
  const chunks: ChatCompletionChunk[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

function textOf(chunks: readonly ChatCompletionChunk[], index = 0): string {
  return chunks
    .flatMap(({ choices }) => choices)
    .filter((choice) => choice.index === index)
    .map(({ delta }) => delta.content ?? '')
    .join('');
}

async function whenIdle(): Promise<void> {
  await vi.waitFor(() => {
    expect(captioner.stats()).toMatchObject({ freeSlots: 2, running: 0, waiting: 0 });
  }, 10_000);
}

describeClients((load) => {
  let client: Client;
  let openai: OpenAI;

  beforeAll(async () => {
    client = await load();
    openai = new client.default({ baseURL: `${app.url}/v1`, apiKey: 'none', maxRetries: 0 });
  });

  const create = (fields: Partial<Body>): Promise<ChatCompletion> =>
    openai.chat.completions.create({ model: 'avocado-nano', messages: ROOT, ...fields });

  /** What `create` is rejected with. */
  async function rejection(fields: object): Promise<InstanceType<Client['APIError']>> {
    const thrown: unknown = await create(fields as Partial<Body>).then(
      () => undefined,
      (error: unknown) => error,
    );
    if (thrown instanceof client.APIError) return thrown;
    throw new Error('The client had no error.', { cause: thrown });
  }

  it('captions a clip of a media root, word for word what the captioner says', async () => {
    const { data, request_id: id } = await openai.chat.completions
      .create({ model: 'avocado-nano', messages: ROOT })
      .withResponse();
    expect(data.choices).toEqual([
      {
        index: 0,
        message: { role: 'assistant', content: truth.caption, refusal: null },
        logprobs: null,
        finish_reason: 'stop',
      },
    ]);
    expect(data).toMatchObject({
      id: `chatcmpl-${id!}`,
      object: 'chat.completion',
      model: 'avocado-nano',
      system_fingerprint: `avocado-nano.fp32.${truth.profile}`,
    });
    expect(Math.abs(data.created - Date.now() / 1000)).toBeLessThan(600);
    const { promptTokens, completionTokens, totalTokens } = truth.usage;
    expect(data.usage).toMatchObject({
      prompt_tokens: promptTokens,
      completion_tokens: completionTokens,
      total_tokens: totalTokens,
    });
    const details = data.usage!.prompt_tokens_details as unknown as Record<string, number>;
    expect(
      details['text_tokens']! + details['video_tokens']! + details['audio_tokens']! + details['image_tokens']!,
    ).toBe(data.usage!.prompt_tokens);
    expect(data).toMatchObject({
      avocado: {
        profile: truth.profile,
        media: { kind: 'video', audio: { present: true, used: true } },
        timings: { stages: { decode: expect.any(Number) as unknown } },
      },
    });
  });

  it('captions a clip inside the message, streamed, with the same words', async () => {
    const url = `data:video/mp4;base64,${(await readFile(join(NANO_EXAMPLES, WIDE))).toString('base64')}`;
    const chunks = await collect(
      await openai.chat.completions.create({
        model: 'avocado-nano',
        messages: messages(url),
        stream: true,
        stream_options: { include_usage: true },
      }),
    );
    expect(textOf(chunks)).toBe(truth.caption);
    expect(new Set(chunks.map(({ id, created }) => `${id} ${created}`)).size).toBe(1);
    expect(chunks[0]!.choices[0]!.delta).toMatchObject({ role: 'assistant', content: '' });
    expect(
      chunks
        .flatMap(({ choices }) => choices.map((choice) => choice.finish_reason))
        .filter((reason) => reason !== null),
    ).toEqual(['stop']);
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { total_tokens: truth.usage.totalTokens } });
  });

  it('puts a stream together to the same answer as one that was not streamed', async () => {
    const runner = openai.chat.completions.stream({
      model: 'avocado-nano',
      messages: ROOT,
      max_completion_tokens: 12,
    });
    const [final, plain] = [await runner.finalChatCompletion(), await create({ max_completion_tokens: 12 })];
    expect(final.choices[0]).toMatchObject({
      finish_reason: 'length',
      message: { role: 'assistant', content: plain.choices[0]!.message.content },
    });
    expect(final).toMatchObject({ object: 'chat.completion', avocado: { profile: truth.profile } });
  });

  it('has several choices of one prompt, streamed or not, and the same for the same seed', async () => {
    const sampled = { n: 2, temperature: 2, seed: 7, max_completion_tokens: 40 };
    const plain = await create(sampled);
    expect(plain.choices.map(({ index }) => index)).toEqual([0, 1]);
    expect(plain.choices[0]!.message.content).not.toBe(plain.choices[1]!.message.content);
    expect(plain.usage!.completion_tokens).toBe(80);
    const chunks = await collect(
      await openai.chat.completions.create({ ...sampled, model: 'avocado-nano', messages: ROOT, stream: true }),
    );
    expect([textOf(chunks, 0), textOf(chunks, 1)]).toEqual(plain.choices.map(({ message }) => message.content));
  });

  it('tells tokens whose bytes are the text, each with the most likely ones', async () => {
    const fields = { logprobs: true, top_logprobs: 3, max_completion_tokens: 8 };
    const plain = (await create(fields)).choices[0]!;
    const content = plain.logprobs!.content!;
    expect(content).toHaveLength(8);
    expect(Buffer.from(content.flatMap(({ bytes }) => bytes!)).toString()).toBe(plain.message.content);
    for (const { token, logprob, top_logprobs: top } of content) {
      expect(logprob).toBeLessThanOrEqual(0);
      expect(top).toHaveLength(3);
      expect(top[0]!.token).toBe(token); // greedy
    }
    const chunks = await collect(
      await openai.chat.completions.create({ ...fields, model: 'avocado-nano', messages: ROOT, stream: true }),
    );
    expect(chunks.flatMap(({ choices }) => choices[0]?.logprobs?.content ?? []).map(({ token }) => token)).toEqual(
      content.map(({ token }) => token),
    );
  });

  it('stops before the words it is told to stop at', async () => {
    const [before] = truth.caption.split(' shows');
    const { choices } = await create({ stop: ' shows' });
    expect(choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: before } });
  });

  it('is answered though it sends what means nothing here', async () => {
    const fields: Partial<Body> = {
      max_completion_tokens: 1,
      store: true,
      metadata: { a: 'b' },
      tool_choice: 'auto',
      response_format: { type: 'text' },
    };
    const { response } = await openai.chat.completions
      .create({ model: 'avocado-nano', messages: ROOT, ...fields })
      .withResponse();
    expect(response.headers.get('x-avocado-ignored-fields')).toBe('store, metadata, tool_choice, response_format');
  });

  it('throws BadRequestError with code and field for what is wrong or not supported', async () => {
    const tools = await rejection({ tools: [{ type: 'function', function: { name: 'f' } }] });
    expect(tools).toBeInstanceOf(client.BadRequestError);
    expect(tools).toMatchObject({
      status: 400,
      code: 'unsupported_field',
      param: 'tools',
      type: 'invalid_request_error',
      requestID: expect.stringMatching(/./) as unknown,
    });
    expect(await rejection({ temperature: 3 })).toMatchObject({
      status: 400,
      code: 'bad_request',
      param: 'temperature',
    });
    expect(await rejection({ messages: [{ role: 'user', content: 'Describe.' }] })).toMatchObject({
      code: 'bad_request',
      param: 'messages[0].content',
    });
    expect(await rejection({ max_tokens: 1_000_000 })).toMatchObject({
      code: 'context_length_exceeded',
      param: 'max_tokens',
    });
  });

  it('throws NotFoundError for another model or a file that is not there', async () => {
    const model = await rejection({ model: 'gpt-4o' });
    expect(model).toBeInstanceOf(client.NotFoundError);
    expect(model).toMatchObject({
      code: 'model_not_found',
      param: 'model',
      message: expect.stringContaining('avocado-nano') as unknown,
    });
    expect(await rejection({ messages: messages('media://clips/none.mp4') })).toMatchObject({
      status: 404,
      code: 'media_not_found',
    });
    expect(await rejection({ stream: true, messages: messages('media://clips/none.mp4') })).toMatchObject({
      status: 404,
      code: 'media_not_found',
    });
  });

  it('throws for a file that is no video, and does not try again', async () => {
    let calls = 0;
    const counting: typeof fetch = (input, init) => {
      calls += 1;
      return fetch(input, init);
    };
    const patient = new client.default({
      baseURL: `${app.url}/v1`,
      apiKey: 'none',
      maxRetries: 2,
      fetch: counting,
    });
    const broken = patient.chat.completions.create({
      model: 'avocado-nano',
      messages: messages(`data:video/mp4;base64,${'AAAA'.repeat(100)}`),
    });
    await expect(broken).rejects.toMatchObject({ code: expect.stringMatching(/^media_un/) as unknown });
    await expect(broken).rejects.toBeInstanceOf(client.APIError);
    expect(calls).toBe(1);
  });

  it('throws RateLimitError with the time to wait when the server is full', async () => {
    const full = await serveApp(fakeCaptioner({ wordDelayMs: 60_000 }), {
      maxRequests: 1,
      mediaRoots: [`clips=${NANO_EXAMPLES}`],
    });
    try {
      const impatient = new client.default({ baseURL: `${full.url}/v1`, apiKey: 'none', maxRetries: 0 });
      const first = await impatient.chat.completions.create({ model: 'fake-nano', messages: ROOT, stream: true });
      const second: unknown = await impatient.chat.completions
        .create({ model: 'fake-nano', messages: ROOT })
        .catch((error: unknown) => error);
      expect(second).toBeInstanceOf(client.RateLimitError);
      expect(second).toMatchObject({ status: 429, code: 'queue_full' });
      expect(Number((second as InstanceType<Client['APIError']>).headers!.get('retry-after'))).toBeGreaterThan(0);
      first.controller.abort();
    } finally {
      await full.close();
    }
  });

  it('throws in the middle of a stream that fails there, and keeps what came before', async () => {
    const whole = fakeCaptioner();
    const failing = await serveApp(
      {
        ...whole,
        submit: (request, options) =>
          whole.submit(request, {
            ...options,
            onEvent: (event) => {
              options.onEvent(
                event.type === 'caption-end'
                  ? { type: 'caption-error', code: 'engine_unavailable', message: 'The engine stopped.' }
                  : event,
              );
            },
          }),
      },
      { mediaRoots: [`clips=${NANO_EXAMPLES}`] },
    );
    try {
      const other = new client.default({ baseURL: `${failing.url}/v1`, apiKey: 'none', maxRetries: 0 });
      const stream = await other.chat.completions.create({ model: 'fake-nano', messages: ROOT, stream: true });
      const chunks: ChatCompletionChunk[] = [];
      const read = (async () => {
        for await (const chunk of stream) chunks.push(chunk);
      })();
      await expect(read).rejects.toMatchObject({
        code: 'engine_unavailable',
        type: 'server_error',
        error: { message: 'The engine stopped.' },
      });
      await expect(read).rejects.toBeInstanceOf(client.APIError);
      expect(textOf(chunks)).toBe('A red ball rolls.\nMüße 🎈');
    } finally {
      await failing.close();
    }
  });

  it('frees its slot by leaving the loop', async () => {
    const stream = await openai.chat.completions.create({
      model: 'avocado-nano',
      messages: messages('media://clips/long-10s.mp4'),
      stream: true,
    });
    for await (const { choices } of stream) if ((choices[0]?.delta.content ?? '') !== '') break;
    await whenIdle();
    const controller = new AbortController();
    const given = openai.chat.completions.create(
      { model: 'avocado-nano', messages: messages('media://clips/long-10s.mp4') },
      { signal: controller.signal },
    );
    const gone = expect(given).rejects.toBeInstanceOf(client.APIUserAbortError);
    await vi.waitFor(() => {
      expect(captioner.stats().running).toBe(1);
    }, 10_000);
    controller.abort();
    await gone;
    await whenIdle();
  });

  it('finds the model that is served', async () => {
    const models = await openai.models.list();
    expect(models.data).toMatchObject([
      { id: 'avocado-nano', object: 'model', owned_by: 'avocado', max_model_len: captioner.model.context },
    ]);
    expect(await openai.models.retrieve('avocado-nano')).toEqual(models.data[0]);
    await expect(openai.models.retrieve('gpt-4o')).rejects.toBeInstanceOf(client.NotFoundError);
  });
});
