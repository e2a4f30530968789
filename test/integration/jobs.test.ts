// Jobs over HTTP, on the embedded database and on PostgreSQL: made, watched, paused, cancelled, tried again, removed.
import { hash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { defaultModelDirectory } from '../../src/base/package-files.ts';
import { FileStore } from '../../src/jobs/store/file-store.ts';
import type { ServerSettings } from '../../src/settings/server-settings.ts';
import { fakeCaptioner, type FakeCaptioner } from '../fixtures/fake-captioner.ts';
import { noPostgres, startPostgres, type TestPostgres } from '../fixtures/postgres.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { parseEvents, serveApp, type ServedApp } from '../fixtures/served-app.ts';

const scratch = scratchDirectory();
const MEDIA = scratch('media');

interface JobAnswer {
  readonly id: string;
  readonly status: string;
  readonly request_counts: Readonly<Record<string, number>>;
}

beforeAll(() => {
  mkdirSync(MEDIA);
  for (const name of ['a', 'b', 'c', 'slow']) writeFileSync(join(MEDIA, `${name}.mp4`), name);
  writeFileSync(join(MEDIA, 'twin.mp4'), 'a');
});

/** Never the same twice, so each is made. */
const SLOW = { max_tokens: 99, temperature: 1 };
const skipped = noPostgres();

describe.each([
  { name: 'the embedded database', why: undefined, isEmbedded: true },
  {
    name: skipped === undefined ? 'PostgreSQL' : `PostgreSQL (skipped: ${skipped})`,
    why: skipped,
    isEmbedded: false,
  },
])('jobs on $name', ({ why, isEmbedded }) => {
  describe.skipIf(why !== undefined)('', () => {
    let postgres: TestPostgres | undefined;
    let captioner: FakeCaptioner;
    let app: ServedApp;
    let slowMs = 60_000;

    beforeAll(async () => {
      postgres = isEmbedded ? undefined : await startPostgres();
      const fake = fakeCaptioner(({ maxTokens }) => (maxTokens === 99 ? { wordDelayMs: slowMs } : {}));
      captioner = Object.assign(fake, { model: { ...fake.model, directory: defaultModelDirectory() } });
      const where: ServerSettings =
        postgres === undefined ? { jobsDirectory: scratch('embedded') } : { databaseUrl: postgres.url };
      app = await serveApp(captioner, { ...where, mediaRoots: [`m=${MEDIA}`] });
    });

    afterAll(async () => {
      await app.close();
      await postgres?.stop();
    });

    async function call<T = JobAnswer>(method: string, path: string, body?: unknown, headers = {}): Promise<T> {
      const response = await fetch(`${app.url}${path}`, {
        method,
        headers:
          body === undefined || body instanceof FormData ? headers : { 'content-type': 'application/json', ...headers },
        ...(body === undefined ? {} : { body: body instanceof FormData ? body : JSON.stringify(body) }),
      });
      const text = await response.text();
      if (!response.ok) throw new Error(`${response.status} ${text}`);
      return (text === '' ? undefined : JSON.parse(text)) as T;
    }

    const item = (name: string, more: object = {}): object => ({ media: `media://m/${name}.mp4`, ...more });

    async function until(id: string, status: string): Promise<JobAnswer> {
      return await vi.waitFor(async () => {
        const job = await call('GET', `/v1/jobs/${id}`);
        expect(job.status).toBe(status);
        return job;
      }, 30_000);
    }

    async function results(id: string): Promise<Record<string, unknown>[]> {
      const text = await (await fetch(`${app.url}/v1/jobs/${id}/results`)).text();
      return text
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    }

    it('end with every item captioned or failed, each with its reason', async () => {
      const made = await call('POST', '/v1/jobs', {
        items: [item('a', { id: 'first', fields: { shot: 7 } }), item('none'), item('b', { nonsense: 1 })],
        options: { max_tokens: 10 },
        metadata: { who: 'test' },
      });
      expect(made).toMatchObject({ object: 'job', status: 'validating', metadata: { who: 'test' } });
      const stream = await fetch(`${app.url}/v1/jobs/${made.id}/events`);
      const { events } = parseEvents(await stream.text());
      expect(events.at(-1)).toMatchObject({ event: 'end', data: { id: made.id, status: 'completed' } });
      const job = await until(made.id, 'completed');
      expect(job.request_counts).toEqual({ total: 3, completed: 1, failed: 2, cancelled: 0, expired: 0 });
      expect(await results(made.id)).toMatchObject([
        {
          index: 0,
          id: 'first',
          source: 'media://m/a.mp4',
          status: 'completed',
          fields: { shot: 7 },
          profile: 'nano@1',
        },
        { index: 1, id: '1', status: 'failed', error: { code: 'media_not_found' } },
        { index: 2, id: '2', status: 'failed', error: { code: 'unknown_field', param: 'nonsense' } },
      ]);
      expect(captioner.seen.at(-1)?.request).toMatchObject({ maxTokens: 10, priority: 'batch' });
      const page = await call<{ data: unknown[]; has_more: boolean }>(
        'GET',
        `/v1/jobs/${made.id}/items?state=failed&limit=1`,
      );
      expect(page).toMatchObject({ has_more: true, data: [{ index: 1, error: { code: 'media_not_found' } }] });
    });

    it('take a file of lines, whose bad lines fail alone, and are made once for an idempotency key', async () => {
      const send = async (): Promise<JobAnswer> => {
        const form = new FormData();
        const lines = [JSON.stringify(item('a')), '{"media": ', '', '[]', JSON.stringify({ id: 'x' })];
        form.append('file', new Blob([lines.join('\n')]), 'list.jsonl');
        form.append('options', '{"prompt": "Say it."}');
        return await call('POST', '/v1/jobs', form, { 'idempotency-key': 'once' });
      };
      const kept = vi.spyOn(FileStore.prototype, 'save');
      const { id } = await send();
      expect((await send()).id).toBe(id);
      expect(kept).toHaveBeenCalledTimes(1); // the list that comes again has no job that would remove it
      kept.mockRestore();
      expect((await until(id, 'completed')).request_counts).toMatchObject({ total: 4, completed: 1, failed: 3 });
      expect((await results(id)).map(({ id: name, status }) => [name, status])).toEqual([
        ['0', 'completed'],
        ['1', 'failed'],
        ['2', 'failed'],
        ['x', 'failed'],
      ]);
      const list = await call<{ data: JobAnswer[] }>('GET', '/v1/jobs');
      expect(list.data[0]!.id).toBe(id);
      expect(
        (await call<{ data: JobAnswer[] }>('GET', `/v1/jobs?after=${id}&limit=5`)).data.map((one) => one.id),
      ).toEqual(list.data.slice(1).map((one) => one.id));
    });

    it('refuse an idempotency key that made a job of another body', async () => {
      const headers = { 'idempotency-key': 'twice' };
      const send = async (...items: object[]): Promise<JobAnswer> =>
        await call('POST', '/v1/jobs', { items, options: { max_tokens: 5 } }, headers);
      const { id } = await send(item('a'));
      await until(id, 'completed');
      expect((await send(item('a'))).id).toBe(id);
      await expect(send(item('b'))).rejects.toThrow(new RegExp(`^400 .*${id}.*a new key.*"Idempotency-Key"`));
      const once = new FormData();
      once.append('file', new Blob([JSON.stringify(item('c'))]), 'list.jsonl');
      await expect(call('POST', '/v1/jobs', once, { 'idempotency-key': 'once' })).rejects.toThrow('with another body');
    });

    it('are paused and go on, and failed items are tried again when asked', async () => {
      const late = isEmbedded ? 'late' : 'later';
      const { id } = await call('POST', '/v1/jobs', {
        items: [item('slow', SLOW), item(late), ...Array.from({ length: 6 }, () => item('a'))],
      });
      await vi.waitFor(async () => {
        expect((await call('GET', `/v1/jobs/${id}`)).request_counts).toMatchObject({ completed: 6, failed: 1 });
      }, 30_000);
      expect((await call('POST', `/v1/jobs/${id}/pause`)).status).toBe('paused');
      writeFileSync(join(MEDIA, `${late}.mp4`), 'x');
      expect((await call('POST', `/v1/jobs/${id}/retry?code=media_not_found`)).request_counts).toMatchObject({
        failed: 0,
      });
      await expect(call('POST', `/v1/jobs/${id}/retry`)).rejects.toThrow('no such failed items');
      expect((await call('POST', `/v1/jobs/${id}/resume`)).status).toBe('in_progress');
      await vi.waitFor(async () => {
        expect((await call('GET', `/v1/jobs/${id}`)).request_counts).toMatchObject({ completed: 7, failed: 0 });
      }, 30_000);
      await call('DELETE', `/v1/jobs/${id}`);
      await expect(call('GET', `/v1/jobs/${id}`)).rejects.toThrow('not_found');
      await vi.waitFor(() => {
        expect(captioner.endings.at(-1)).toBe('caption-aborted');
      });
    });

    it('that are cancelled stop at once and keep what is captioned', async () => {
      slowMs = 60_000;
      const slow = Array.from({ length: 9 }, () => item('slow', SLOW));
      const { id } = await call('POST', '/v1/jobs', { items: [item('a'), ...slow] });
      await vi.waitFor(async () => {
        expect((await call('GET', `/v1/jobs/${id}`)).request_counts).toMatchObject({ completed: 1 });
      }, 30_000);
      expect((await call('POST', `/v1/jobs/${id}/cancel`)).status).toBe('cancelling');
      const job = await until(id, 'cancelled');
      expect(job.request_counts).toEqual({ total: 10, completed: 1, failed: 0, cancelled: 9, expired: 0 });
      expect(await results(id)).toHaveLength(1);
      await expect(call('POST', `/v1/jobs/${id}/resume`)).rejects.toThrow('cancelled');
    });

    it('refuse what is wrong with every item before anything runs', async () => {
      await expect(call('POST', '/v1/jobs', { items: [item('a')], options: { max_token: 1 } })).rejects.toThrow(
        'unknown_field',
      );
      await expect(call('POST', '/v1/jobs', {})).rejects.toThrow('Give items');
      await expect(call('POST', '/v1/jobs', { items: [] })).rejects.toThrow('bad_request');
      await expect(call('POST', '/v1/jobs', { items: [item('a')], webhook: 'https://a.example/' })).rejects.toThrow(
        'AVOCADO_WEBHOOK_SECRET',
      );
      await expect(call('GET', '/v1/jobs/none')).rejects.toThrow('404');
      await expect(call('GET', '/v1/jobs?limit=0')).rejects.toThrow('limit');
    });

    it('keep long texts of their items, files inside JSON too', async () => {
      const bytes = Buffer.alloc(250_000, 7);
      const [media, url] = [`data:video/mp4;base64,${bytes.toString('base64')}`, 'u'.repeat(300_000)];
      const { id } = await call('POST', '/v1/jobs', { items: [{ media, fields: { url } }] });
      await until(id, 'completed');
      expect(await results(id)).toMatchObject([{ status: 'completed', fields: { url } }]);
      expect(captioner.seen.at(-1)?.bytes.equals(bytes)).toBe(true);
    });

    it('take no harm from NUL, which PostgreSQL cannot store', async () => {
      const { id } = await call('POST', '/v1/jobs', {
        items: [{ media: 'media://m/\0.mp4', id: 'a\0', fields: { b: '\0' } }],
        metadata: { who: '\0' },
      });
      await until(id, 'completed');
      expect(await results(id)).toMatchObject([{ id: 'a\uFFFD', status: 'failed', fields: { b: '\0' } }]);
      for (const path of ['jobs/%00', 'jobs/%00/items', 'jobs/%00/results', 'files/%00', 'batches/%00'])
        await expect(call('GET', `/v1/${path}`)).rejects.toThrow('404');
      for (const path of ['jobs?after=%00', 'files?after=%00', 'files?purpose=%00', 'batches?after=%00'])
        expect(await call('GET', `/v1/${path}`)).toMatchObject({ data: [] });
      await expect(call('POST', `/v1/jobs/${id}/retry?code=%00`)).rejects.toThrow('no such failed items');
      await expect(call('POST', '/v1/jobs', { input_file_id: '\0' })).rejects.toThrow('404');
      const form = new FormData();
      form.append('purpose', 'batch');
      form.append('file', new File(['{}'], 'a\0.jsonl'));
      const file = await call('POST', '/v1/files', form);
      expect(file).toMatchObject({ bytes: 2, filename: expect.stringMatching(/^a.?.jsonl$/) as string });
      await call('DELETE', `/v1/files/${file.id}`);
    });

    it('need no body where a type is announced but nothing sent', async () => {
      const { id } = await call('POST', '/v1/jobs', { items: [item('a')] });
      await until(id, 'completed');
      const ask = async (method: string, path: string, headers: Record<string, string> = {}): Promise<unknown> => {
        const response = await fetch(`${app.url}${path}`, { method, headers });
        return [response.status, await response.text()];
      };
      const headers = { 'content-type': 'application/json' };
      const form = { 'content-type': 'application/x-www-form-urlencoded' }; // curl --data ''
      const actions = ['pause', 'retry', 'cancel'].map((name) => `/v1/jobs/${id}/${name}`);
      for (const path of [...actions, '/v1/batches/none/cancel'])
        for (const announced of [headers, form])
          expect(await ask('POST', path, announced)).toEqual(await ask('POST', path));
      for (const path of ['/v1/files/none', '/v1/captions/none'])
        expect(await ask('DELETE', path, headers)).toEqual(await ask('DELETE', path));
      expect(await ask('DELETE', `/v1/jobs/${id}`, headers)).toEqual([204, '']);
    });

    it('answer HEAD at once where GET watches them', async () => {
      slowMs = 60_000;
      const { id } = await call('POST', '/v1/jobs', { items: [item('a', { max_tokens: 99 })] });
      const head = await fetch(`${app.url}/v1/jobs/${id}/events`, { method: 'HEAD' });
      expect([head.status, head.headers.get('content-type')]).toEqual([200, 'text/event-stream']);
      await call('DELETE', `/v1/jobs/${id}`);
    });

    it('need their body where they are made', async () => {
      const headers = { 'content-type': 'application/json' };
      for (const path of ['/v1/jobs', '/v1/batches', '/v1/captions', '/v1/chat/completions'])
        await expect(call('POST', path, undefined, headers)).rejects.toThrow('The body is empty');
    });

    it('take no place from a client: a full queue of items refuses nobody', async () => {
      slowMs = 60_000;
      const { id } = await call('POST', '/v1/jobs', {
        items: Array.from({ length: 6 }, () => item('slow', SLOW)),
      });
      await vi.waitFor(async () => {
        const { data } = await call<{ data: unknown[] }>('GET', `/v1/jobs/${id}/items?state=running`);
        expect(data.length).toBeGreaterThan(0);
      }, 30_000);
      const answer = await call<{ caption: string }>('POST', '/v1/captions', item('a'));
      expect(answer.caption).toContain('red ball');
      await call('POST', `/v1/jobs/${id}/cancel`);
      await until(id, 'cancelled');
    });

    it('caption the same bytes once, in one job and in the next', async () => {
      const before = captioner.seen.length;
      const options = { max_tokens: 11 };
      const items = [item('a', { id: 'one' }), item('twin', { id: 'other' }), item('a', { prompt: 'Why?' })];
      const { id } = await call('POST', '/v1/jobs', { items, options });
      expect((await until(id, 'completed')).request_counts).toMatchObject({ completed: 3 });
      const next = await call('POST', '/v1/jobs', { items: items.slice(1, 2), options });
      await until(next.id, 'completed');
      expect(captioner.seen.length - before).toBe(2);
      const lines = [...(await results(id)), ...(await results(next.id))];
      expect(lines.map(({ id: name, caption }) => [name, caption])).toEqual(
        ['one', 'other', '2', 'other'].map((name) => [name, 'A red ball rolls.\nMüße 🎈']),
      );
      const made = lines.findIndex(({ duplicate_of: of }) => of === undefined);
      expect(lines.map(({ duplicate_of: of }) => of)).toEqual(
        lines.map((_, index) => (index === made || index === 2 ? undefined : `${id}.${made}`)),
      );
      const content = hash('sha256', 'a');
      const [first] = lines;
      for (const line of lines) expect(line).toMatchObject({ content, fingerprint: first!['fingerprint'] });
      expect(await (await fetch(`${app.url}/v1/jobs/${id}/results?index=2,7`)).text()).toContain('"index":2,');
      await expect(call('GET', `/v1/jobs/${id}/results?index=x`)).rejects.toThrow('bad_request');
      const models = await call<{ data: object[] }>('GET', '/v1/models');
      expect(models.data[0]).toMatchObject({ avocado: { precision: 'fp32', fingerprint: first!['fingerprint'] } });
    });

    it('are counted in the metrics', async () => {
      await vi.waitFor(async () => {
        const text = await (await fetch(`${app.url}/metrics`)).text();
        expect(text).toMatch(/^avocado_jobs\{status="cancelled"\} [1-9]/m);
        expect(text).toMatch(/^avocado_job_items\{state="completed"\} [1-9]/m);
        expect(text).toMatch(/^avocado_job_duplicates_avoided_total [1-9]/m);
        expect(text).toMatch(/^avocado_job_items_committed_total\{state="failed",code="media_not_found"\} [1-9]/m);
      }, 30_000);
    });
  });
});

describe('a server that stops', () => {
  it('waits for nobody who watches a job', async () => {
    const app = await serveApp(fakeCaptioner({ wordDelayMs: 60_000 }), {
      ...{ jobsDirectory: scratch('stopping'), mediaRoots: [`m=${MEDIA}`], jobSlots: 0, drainMs: 60_000 },
    });
    try {
      const body = JSON.stringify({ items: [{ media: 'media://m/a.mp4' }] });
      const headers = { 'content-type': 'application/json' };
      const made = await fetch(`${app.url}/v1/jobs`, { method: 'POST', headers, body });
      const { id } = (await made.json()) as JobAnswer;
      const watched = await fetch(`${app.url}/v1/jobs/${id}/events`);
      const startMs = performance.now();
      const [text] = await Promise.all([watched.text(), app.stop()]);
      expect(performance.now() - startMs).toBeLessThan(20_000);
      expect(parseEvents(text).events.at(-1)).toMatchObject({ event: 'progress', data: { id } });
    } finally {
      await app.close();
    }
  }, 60_000);
});

describe('a server without a database', () => {
  it('says how jobs are turned on', async () => {
    const app = await serveApp(fakeCaptioner());
    try {
      const response = await fetch(`${app.url}/v1/jobs`);
      expect([response.status, await response.text()]).toEqual([404, expect.stringContaining('--jobs-dir')]);
    } finally {
      await app.close();
    }
  });
});
