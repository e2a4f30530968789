// A server behind a proxy: whom it believes about its clients, a path that is not its own, and what it tells the proxy.
import { createHash } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { fakeCaptioner } from '../fixtures/fake-captioner.ts';
import { form, serveApp, type ServedApp } from '../fixtures/served-app.ts';

let app: ServedApp;

afterEach(async () => {
  await app.close();
});

function post(headers: Readonly<Record<string, string>> = {}, fields: Readonly<Record<string, string>> = {}) {
  return fetch(`${app.url}/v1/captions`, { method: 'POST', body: form('x', fields), headers: { ...headers } });
}

describe('X-Forwarded-For', () => {
  it.each([
    ['an address that is trusted', ['127.0.0.1'], [200, 200, 429]],
    ['a range that is trusted', ['loopback'], [200, 200, 429]],
    ['an address that is not trusted', ['10.0.0.0/8'], [200, 429, 429]],
    ['any address where none is trusted', [], [200, 429, 429]],
  ])('from %s tells the client as far as it is believed', async (_, trustProxy, statuses) => {
    app = await serveApp(fakeCaptioner(), { trustProxy, rateLimitPerMinute: 1 });
    const answers: number[] = [];
    for (const client of ['203.0.113.1', '203.0.113.2', '203.0.113.1'])
      answers.push((await post({ 'x-forwarded-for': client })).status);
    expect(answers).toEqual(statuses);
  });

  it('counts from the proxy on: what a client wrote before it is not believed', async () => {
    app = await serveApp(fakeCaptioner(), { trustProxy: ['127.0.0.0/8'], rateLimitPerMinute: 1 });
    expect((await post({ 'x-forwarded-for': '198.51.100.1, 203.0.113.1' })).status).toBe(200);
    expect((await post({ 'x-forwarded-for': '198.51.100.2, 203.0.113.1' })).status).toBe(429);
  });
});

describe('X-Forwarded-Host', () => {
  it('of a trusted proxy is the name that is checked against rebinding', async () => {
    const asked = { 'x-forwarded-host': 'captions.example' };
    app = await serveApp(fakeCaptioner(), { trustProxy: ['loopback'] });
    expect((await post(asked)).status).toBe(403);
    await app.close();
    app = await serveApp(fakeCaptioner(), { trustProxy: ['loopback'], allowHosts: ['captions.example'] });
    expect((await post(asked)).status).toBe(200);
    await app.close();
    app = await serveApp(fakeCaptioner());
    expect((await post(asked)).status).toBe(200); // not believed: the request came to an address
  });
});

describe('--base-path', () => {
  it('serves every route with and without it, and links that stay below it', async () => {
    app = await serveApp(fakeCaptioner(), { basePath: '/captions' });
    const get = (path: string) => fetch(`${app.url}${path}`, { redirect: 'manual' });
    for (const path of ['/captions/', '/captions/healthz', '/healthz', '/captions/page/page.js', '/captions/docs'])
      expect((await get(path)).status, path).toBe(200);
    const folder = await get('/captions');
    expect([folder.status, folder.headers.get('location')]).toEqual([308, '/captions/']);
    const page = await (await get('/captions/')).text();
    expect(page.match(/(?:href|src)="\/[^"]*/g)).toBeNull();
    const document = (await (await get('/captions/openapi.json')).json()) as { servers: unknown };
    expect(document.servers).toEqual([{ url: '/captions' }]);
    expect((await get('/captionsx/healthz')).status).toBe(404);
    const answer = await fetch(`${app.url}/captions/v1/captions`, { method: 'POST', body: form('x') });
    expect(answer.status).toBe(200);
  });
});

describe('headers of a response', () => {
  const HASH = createHash('sha256').update('x').digest('hex');

  it('tell the time of the stages, and the hash of the media that a proxy can choose a server by', async () => {
    app = await serveApp(fakeCaptioner());
    const answer = await post();
    expect(answer.headers.get('x-avocado-media-hash')).toBe(HASH);
    expect(answer.headers.get('server-timing')).toMatch(/^fetch;dur=[\d.]+, queue;dur=[\d.]+, .*decode;dur=100\.0/);
    expect(answer.headers.get('server-timing')).toMatch(/, total;dur=\d+\.\d$/);
  });

  it('of a stream and of an error have the hash alone, where it is known', async () => {
    app = await serveApp(
      fakeCaptioner((request) =>
        request.prompt === 'fail' ? { error: { code: 'media_undecodable', message: () => 'No.' } } : {},
      ),
    );
    for (const [fields, hash] of [
      [{ stream: 'true' }, HASH],
      [{ prompt: 'fail' }, HASH],
      [{ top_p: '7' }, null],
    ] as const) {
      const { headers } = await post({}, fields);
      expect(headers.get('x-avocado-media-hash')).toBe(hash);
      expect(headers.get('server-timing')).toBeNull();
    }
  });
});
