// OpenAI's own clients, unmodified, through files and batches: what their users would see.
import { createHmac } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import { join } from 'node:path';
import type OpenAI from 'openai';
import type { Batch } from 'openai/resources/batches';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { ServerSettings } from '../../src/settings/server-settings.ts';
import { fakeCaptioner, type FakeCaptioner } from '../fixtures/fake-captioner.ts';
import { describeClients, type Client } from '../fixtures/openai-clients.ts';
import { noPostgres, startPostgres, type TestPostgres } from '../fixtures/postgres.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { serveApp, type ServedApp } from '../fixtures/served-app.ts';

const SECRET = `whsec_${Buffer.from('a secret of this test').toString('base64')}`;

interface Message {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const scratch = scratchDirectory();
const messages: Message[] = [];
let receiver: Server;
let captioner: FakeCaptioner;
let postgres: TestPostgres | undefined;
let app: ServedApp;
let shortLived: ServedApp;

beforeAll(async () => {
  const media = scratch('media');
  mkdirSync(media);
  for (const name of ['a', 'b', 'slow']) writeFileSync(join(media, `${name}.mp4`), name);
  let refused = 0;
  receiver = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => {
      refused += 1;
      messages.push({ headers: request.headers as Record<string, string>, body });
      response.statusCode = refused === 1 ? 500 : 204; // the first message is sent again
      response.end();
    });
  }).listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  const address = receiver.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  captioner = fakeCaptioner(({ maxTokens }) => (maxTokens === 99 ? { wordDelayMs: 60_000 } : {}));
  const settings = {
    mediaRoots: [`m=${media}`],
    webhookUrl: `http://127.0.0.1:${port}/hook`,
    webhookSecret: SECRET,
    allowCidrs: ['127.0.0.0/8'],
    urlHosts: [`127.0.0.1:${port}`],
  };
  // On PostgreSQL where it can be had: it starts sooner, and the two servers share the work.
  postgres = noPostgres() === undefined ? await startPostgres() : undefined;
  const where = (name: string): ServerSettings =>
    postgres === undefined ? { jobsDirectory: scratch(name) } : { databaseUrl: postgres.url };
  app = await serveApp(captioner, { ...settings, ...where('jobs') });
  shortLived = await serveApp(captioner, { ...settings, ...where('short'), batchWindowSeconds: 2 });
});

afterAll(async () => {
  await app.close();
  await shortLived.close();
  await postgres?.stop();
  receiver.close();
});

function line(id: string, file: string, more: object = {}, url = '/v1/chat/completions'): string {
  const content = [{ type: 'video_url', video_url: { url: `media://m/${file}.mp4` } }];
  const body =
    url === '/v1/captions'
      ? { media: `media://m/${file}.mp4`, ...more }
      : { model: 'fake-nano', messages: [{ role: 'user', content }], ...more };
  return JSON.stringify({ custom_id: id, method: 'POST', url, body });
}

const lines = (text: string): Record<string, unknown>[] =>
  text
    .split('\n')
    .filter((one) => one !== '')
    .map((one) => JSON.parse(one) as Record<string, unknown>);

describeClients((load) => {
  let client: Client;
  let openai: OpenAI;

  beforeAll(async () => {
    client = await load();
    openai = new client.default({ baseURL: `${app.url}/v1`, apiKey: 'none', maxRetries: 0, webhookSecret: SECRET });
  });

  async function run(text: string, more: object = {}, of: OpenAI = openai): Promise<Batch> {
    const file = await of.files.create({
      file: await client.toFile(Buffer.from(text), 'in.jsonl'),
      purpose: 'batch',
    });
    return await of.batches.create({
      input_file_id: file.id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
      ...more,
    });
  }

  async function until(id: string, status: string, of: OpenAI = openai): Promise<Batch> {
    return await vi.waitFor(async () => {
      const batch = await of.batches.retrieve(id);
      expect(batch.status).toBe(status);
      return batch;
    }, 30_000);
  }

  const textOf = async (id: string | null | undefined, of: OpenAI = openai): Promise<string> =>
    (await of.files.content(id ?? 'none')).text();

  it('uploads, lists, reads and deletes files', async () => {
    const bytes = Buffer.alloc(700_000, 'x\n');
    const file = await openai.files.create({
      file: await client.toFile(bytes, 'big.jsonl'),
      purpose: 'batch',
      expires_after: { anchor: 'created_at', seconds: 3600 },
    });
    expect(file).toMatchObject({ object: 'file', bytes: bytes.length, filename: 'big.jsonl', purpose: 'batch' });
    expect(file.expires_at! - file.created_at).toBe(3600);
    expect(Buffer.from(await (await openai.files.content(file.id)).arrayBuffer()).equals(bytes)).toBe(true);
    expect((await openai.files.list({ purpose: 'batch' })).data.map(({ id }) => id)).toContain(file.id);
    expect(await openai.files.delete(file.id)).toEqual({ id: file.id, object: 'file', deleted: true });
    await expect(openai.files.retrieve(file.id)).rejects.toBeInstanceOf(client.NotFoundError);
  });

  it('runs a batch to its output and its error file', async () => {
    const text = [line('ok', 'a'), line('gone', 'none'), line('wrong', 'b', { temperature: 9 })].join('\n');
    const made = await run(text, { metadata: { who: 'test' } });
    expect(made).toMatchObject({ object: 'batch', status: 'validating', metadata: { who: 'test' } });
    const batch = await until(made.id, 'completed');
    expect(batch.request_counts).toEqual({ total: 3, completed: 1, failed: 2 });
    expect(lines(await textOf(batch.output_file_id))).toMatchObject([
      {
        custom_id: 'ok',
        error: null,
        response: { status_code: 200, body: { object: 'chat.completion', choices: [{ finish_reason: 'stop' }] } },
      },
    ]);
    expect(lines(await textOf(batch.error_file_id))).toMatchObject([
      { custom_id: 'gone', response: { status_code: 404, body: { error: { code: 'media_not_found' } } } },
      { custom_id: 'wrong', response: { status_code: 400, body: { error: { param: 'temperature' } } } },
    ]);
    const output = await openai.files.retrieve(batch.output_file_id!);
    expect(output).toMatchObject({ purpose: 'batch_output' });
    expect(output.bytes).toBe(Buffer.byteLength(await textOf(batch.output_file_id)));
    expect((await openai.batches.list()).data[0]!.id).toBe(batch.id);
    await expect(openai.batches.cancel(batch.id)).rejects.toBeInstanceOf(client.BadRequestError);
  });

  it('takes lines of our own route', async () => {
    const { id } = await run(line('own', 'a', { max_tokens: 9 }, '/v1/captions'), { endpoint: '/v1/captions' });
    const batch = await until(id, 'completed');
    expect(lines(await textOf(batch.output_file_id))).toMatchObject([
      { custom_id: 'own', response: { body: { profile: 'nano@1', finish_reason: 'stop' } } },
    ]);
    expect(batch.error_file_id).toBeNull();
  });

  it('takes a file that was uploaded before, in a line and in a chat', async () => {
    const clip = await openai.files.create({
      file: await client.toFile(Buffer.from('bytes'), 'c.mp4'),
      purpose: 'user_data',
    });
    const messages = [{ role: 'user' as const, content: [{ type: 'file' as const, file: { file_id: clip.id } }] }];
    const answer = await openai.chat.completions.create({ model: 'fake-nano', messages });
    expect(answer.choices[0]!.message.content).toContain('red ball');
    const own = JSON.stringify({ custom_id: 'f', method: 'POST', url: '/v1/captions', body: { media: clip.id } });
    const batch = await until((await run(own, { endpoint: '/v1/captions' })).id, 'completed');
    expect(batch.request_counts).toEqual({ total: 1, completed: 1, failed: 0 });
    expect(captioner.seen.slice(-2).map(({ bytes }) => bytes.toString())).toEqual(['bytes', 'bytes']);
  });

  it('fails an input that is wrong, naming its lines, and runs nothing of it', async () => {
    const text = [line('one', 'a'), line('one', 'b'), 'nonsense', line('x', 'a', {}, '/v1/captions')].join('\n');
    const batch = await until((await run(text)).id, 'failed');
    expect(batch.errors?.data?.map(({ code, line: number }) => [code, number])).toEqual([
      ['duplicate_custom_id', 2],
      ['invalid_json_line', 3],
      ['mismatched_url', 4],
    ]);
    expect(batch.request_counts).toMatchObject({ completed: 0 });
  });

  it('cancels a batch and keeps what is answered', async () => {
    const { id } = await run(
      [line('done', 'a'), ...['1', '2', '3', '4'].map((one) => line(one, 'slow', { max_tokens: 99 }))].join('\n'),
    );
    await vi.waitFor(async () => {
      expect((await openai.batches.retrieve(id)).request_counts?.completed).toBe(1);
    }, 30_000);
    expect((await openai.batches.cancel(id)).status).toBe('cancelling');
    const batch = await until(id, 'cancelled');
    expect(lines(await textOf(batch.output_file_id)).map(({ custom_id: own }) => own)).toEqual(['done']);
    expect(lines(await textOf(batch.error_file_id))).toHaveLength(4);
  });

  it('has the rest of a batch that runs out of time in the error file', async () => {
    const short = new client.default({ baseURL: `${shortLived.url}/v1`, apiKey: 'none', maxRetries: 0 });
    const { id } = await run(
      [line('done', 'a'), line('late', 'slow', { max_tokens: 99 })].join('\n'),
      { output_expires_after: { anchor: 'created_at', seconds: 7200 } },
      short,
    );
    const batch = await until(id, 'expired', short);
    expect(lines(await textOf(batch.error_file_id, short))).toEqual([
      {
        id: expect.stringMatching(/^batch_req_/) as unknown,
        custom_id: 'late',
        response: null,
        error: {
          code: 'batch_expired',
          message: 'This request could not be executed before the completion window expired.',
        },
      },
    ]);
    expect((await short.files.retrieve(batch.error_file_id!)).expires_at).toBeGreaterThan(Date.now() / 1000);
  });

  it('verifies the message about the end of a batch, which is sent until it is taken', async () => {
    const { id } = await run(line('told', 'a'));
    const message = await vi.waitFor(
      () => {
        const found = messages.find(({ body }) => body.includes(id));
        expect(found).toBeDefined();
        return found!;
      },
      { timeout: 30_000 },
    );
    const event = await openai.webhooks.unwrap(message.body, message.headers);
    expect(event).toMatchObject({ object: 'event', type: 'batch.completed', data: { id } });
    const { 'webhook-id': key, 'webhook-timestamp': time } = message.headers;
    const signature = createHmac('sha256', 'a secret of this test').update(`${key}.${time}.${message.body}`);
    expect(message.headers['webhook-signature']).toBe(`v1,${signature.digest('base64')}`);
    // Refused at first, the first message came again with the same id.
    await vi.waitFor(
      () => {
        const first = messages[0]!.headers['webhook-id'];
        expect(messages.filter(({ headers }) => headers['webhook-id'] === first).length).toBeGreaterThan(1);
      },
      { timeout: 60_000 },
    );
  });
});
