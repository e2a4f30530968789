import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { buildApp } from '../../src/server/app.ts';
import { serverConfig, type ServerSettings } from '../../src/settings/server-settings.ts';
import { fakeCaptioner, type FakeCaptioner } from '../fixtures/fake-captioner.ts';
import { form } from '../fixtures/served-app.ts';

interface Line {
  readonly level: number;
  readonly msg: string;
  readonly [field: string]: unknown;
}

let app: FastifyInstance;
let directory: string;
let log: string;

afterEach(async () => {
  await app.close();
  await rm(directory, { recursive: true, force: true });
});

async function serve(captioner: FakeCaptioner, settings: ServerSettings): Promise<string> {
  log = '';
  directory = await mkdtemp(join(tmpdir(), 'avocado-test-'));
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      log += chunk.toString();
      done();
    },
  });
  app = await buildApp({
    captioner,
    config: serverConfig({ temporaryDirectory: directory, drainMs: 0, ...settings }),
    log: stream,
  });
  return app.listen({ host: '127.0.0.1', port: 0 });
}

const lines = (msg: string): Line[] =>
  log
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line)
    .filter((line) => line.msg === msg);
const post = (url: string, init: RequestInit = {}): Promise<Response> =>
  fetch(`${url}/v1/captions`, { method: 'POST', body: form('x', { stream: 'true' }, 'holiday.mp4'), ...init });

describe('the log', () => {
  it('tells of a client that left once its caption has ended, with what was made until then', async () => {
    const captioner = fakeCaptioner({ wordDelayMs: 100 });
    const url = await serve(captioner, { logLevel: 'info' });
    const leave = new AbortController();
    const response = await post(url, { signal: leave.signal });
    await response.body!.getReader().read();
    await vi.waitFor(() => {
      expect(captioner.seen).toHaveLength(1);
    });
    leave.abort();
    await vi.waitFor(() => {
      expect(lines('request')).toHaveLength(1);
    });
    expect(captioner.endings).toEqual(['caption-aborted']);
    expect(lines('request')[0]).toMatchObject({
      outcome: 'aborted',
      code: 'aborted',
      generated_tokens: expect.any(Number) as number,
    });
  });

  it.each([[false], [true]])(
    'of our own faults has the place, and their words only with logContent = %s',
    async (logContent) => {
      const url = await serve(fakeCaptioner({ throws: new TypeError('cannot read /films/holiday.mp4') }), {
        logContent,
      });
      await (await fetch(`${url}/v1/captions`, { method: 'POST', body: form('x', {}, 'holiday.mp4') })).text();
      await vi.waitFor(() => {
        expect(lines('internal')).toHaveLength(1);
      });
      expect(lines('internal')[0]).toMatchObject({
        level: 50,
        reqId: expect.stringMatching(/^cap-/) as string,
        err: { code: 'internal', stack: expect.stringContaining('at ') as string },
      });
      expect(log.includes('/films/holiday.mp4')).toBe(logContent);
      expect(lines('request')).toEqual([]);
    },
  );

  it('never holds a header that could be a key', async () => {
    const captioner = fakeCaptioner();
    await serve(captioner, { logLevel: 'info' });
    app.log.info(
      {
        headers: { authorization: 'Bearer my-secret', 'x-api-key': 'my-secret', accept: 'all' },
        req: { headers: { 'api-key': 'my-secret', cookie: 'my-secret' } },
      },
      'headers',
    );
    expect(lines('headers')[0]).toMatchObject({ headers: { accept: 'all', authorization: '[Redacted]' } });
    expect(log).not.toContain('my-secret');
  });

  it('leaves probes out until they go wrong', async () => {
    const captioner = fakeCaptioner();
    const url = await serve(captioner, { logLevel: 'info' });
    for (const path of ['/healthz', '/readyz', '/metrics']) await (await fetch(url + path)).text();
    captioner.state = { ...captioner.state, state: 'restarting', text: 'The engine process was killed.' };
    await (await fetch(`${url}/readyz`)).text();
    await vi.waitFor(() => {
      expect(lines('request')).toMatchObject([{ route: '/readyz', status: 503 }]);
    });
    await vi.waitFor(() => {
      expect(lines('engine')).toMatchObject([
        { level: 40, state: 'restarting', text: 'The engine process was killed.' },
      ]);
    });
  });

  it('is silent when nobody wants it', async () => {
    const url = await serve(fakeCaptioner({ throws: new Error('out of cheese') }), { logLevel: 'silent' });
    await (await fetch(`${url}/v1/captions`, { method: 'POST', body: form('x') })).text();
    expect(log).toBe('');
  });
});
