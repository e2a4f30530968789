// What stands before every route: keys, rates, request ids, headers.
import { request as httpRequest } from 'node:http';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { fakeCaptioner } from '../fixtures/fake-captioner.ts';
import { form, serveApp, type ServedApp } from '../fixtures/served-app.ts';

const KEY = 'the-secret-key-of-anna';
let app: ServedApp;

afterEach(async () => {
  await app.close();
});

interface ErrorBody {
  error: { message: string; type: string; code: string };
}

async function metric(line: string, headers: Record<string, string> = {}): Promise<number> {
  const text = await (await fetch(`${app.url}/metrics`, { headers })).text();
  return Number(
    text
      .split('\n')
      .find((candidate) => candidate.startsWith(`${line} `))
      ?.split(' ')
      .at(-1),
  );
}

describe('a server with keys', () => {
  const settings = { apiKeysText: `anna:${KEY},bob:the-secret-key-of-bob` };
  const bearer = { authorization: `Bearer ${KEY}` };

  it('answers whoever sends one, in any of three headers', async () => {
    app = await serveApp(fakeCaptioner(), settings);
    for (const headers of [
      bearer,
      { authorization: `bearer  ${KEY}` },
      { 'api-key': KEY },
      { 'x-api-key': 'the-secret-key-of-bob' },
      { authorization: 'Bearer dummy', 'x-api-key': KEY },
    ]) {
      expect(
        (
          await fetch(`${app.url}/v1/captions`, {
            method: 'POST',
            body: form('x'),
            headers: headers as Record<string, string>,
          })
        ).status,
      ).toBe(200);
    }
  });

  it('refuses everybody else on every other path, known or not, and counts them', async () => {
    app = await serveApp(fakeCaptioner(), settings);
    const paths = [
      ['POST', '/v1/captions'],
      ['POST', '/v1/captions/estimate'],
      ['DELETE', '/v1/captions/some-id-1'],
      ['POST', '/v1/chat/completions'],
      ['GET', '/v1/models'],
      ['GET', '/metrics'],
      ['GET', '/v1/metrics'],
      ['GET', '/version'],
      ['GET', '/nothing'],
      ['GET', '/healthz/'],
      ['GET', '//healthz'],
      ['POST', '/healthz'],
      ['GET', '/docsy'],
    ] as const;
    for (const [method, path] of paths) {
      for (const headers of [
        {},
        { authorization: 'Bearer wrong-key-altogether' },
        { authorization: `Basic ${KEY}` },
        { authorization: KEY },
      ]) {
        const response = await fetch(`${app.url}${path}`, { method, headers: headers as Record<string, string> });
        expect([path, response.status]).toEqual([path, 401]);
        expect(response.headers.get('www-authenticate')).toContain('Bearer');
        const { error } = (await response.json()) as ErrorBody;
        expect(error).toMatchObject({
          code: 'unauthorized',
          type: 'authentication_error',
          message: expect.stringMatching(/key.*\.$/) as string,
        });
        expect(JSON.stringify(error)).not.toContain('wrong-key');
      }
    }
    expect(await metric('avocado_requests_rejected_total{reason="unauthorized"}', bearer)).toBe(paths.length * 4);
  });

  it('lets probes, the page and the API’s description be seen without one', async () => {
    app = await serveApp(fakeCaptioner(), settings);
    for (const path of [
      '/',
      '/docs',
      '/docs/',
      '/docs/static/swagger-ui.css',
      '/openapi.json',
      '/healthz',
      '/readyz',
      '/health',
      '/ping',
      '/v1/health/live',
      '/v1/health/ready',
    ]) {
      expect([path, (await fetch(`${app.url}${path}`)).status]).toEqual([path, 200]);
    }
  });

  it('lets only the key that asked cancel a request', async () => {
    const captioner = fakeCaptioner({ words: Array.from({ length: 200 }, () => 'word '), wordDelayMs: 50 });
    app = await serveApp(captioner, settings);
    const caption = fetch(`${app.url}/v1/captions`, {
      method: 'POST',
      body: form('x'),
      headers: { ...bearer, 'x-request-id': 'annas-request' },
    });
    const cancelAs = async (headers: Record<string, string>): Promise<number> =>
      (await fetch(`${app.url}/v1/captions/annas-request`, { method: 'DELETE', headers })).status;
    await vi.waitFor(() => {
      expect(captioner.seen).toHaveLength(1);
    });
    expect(await cancelAs({ 'x-api-key': 'the-secret-key-of-bob' })).toBe(404);
    expect(await cancelAs(bearer)).toBe(204);
    expect((await caption).status).toBe(499);
  });

  it('refuses before a byte of the body has come', async () => {
    const captioner = fakeCaptioner();
    app = await serveApp(captioner, settings);
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const request = httpRequest(
        `${app.url}/v1/captions`,
        {
          method: 'POST',
          headers: { 'content-type': 'multipart/form-data; boundary=b', 'content-length': '1000000000' },
        },
        (response) => {
          resolve(response.statusCode);
          request.destroy();
        },
      );
      request.on('error', reject);
      request.flushHeaders();
    });
    expect([status, captioner.seen.length, await app.uploads()]).toEqual([401, 0, []]);
  });
});

describe('a rate limit', () => {
  const post = (headers: Record<string, string> = {}): Promise<Response> =>
    fetch(`${app.url}/v1/captions`, { method: 'POST', body: form('x'), headers });

  it('holds for each address where there are no keys, and not for looking', async () => {
    app = await serveApp(fakeCaptioner(), { rateLimitPerMinute: 2 });
    expect([(await post()).status, (await post()).status]).toEqual([200, 200]);
    const refused = await post();
    expect(refused.status).toBe(429);
    const seconds = Number(refused.headers.get('retry-after'));
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThanOrEqual(60);
    expect(Number(refused.headers.get('retry-after-ms'))).toBe(seconds * 1000);
    expect(refused.headers.get('x-should-retry')).toBe('true');
    expect(((await refused.json()) as ErrorBody).error).toMatchObject({
      code: 'rate_limited',
      type: 'rate_limit_error',
    });
    expect((await fetch(`${app.url}/v1/captions/estimate`, { method: 'POST', body: form('x') })).status).toBe(429);
    expect((await fetch(`${app.url}/healthz`)).status).toBe(200);
    expect((await fetch(`${app.url}/v1/captions/nobody-has-this`, { method: 'DELETE' })).status).toBe(404);
    expect(await metric('avocado_requests_rejected_total{reason="rate_limited"}')).toBe(2);
  });

  it('holds for each key where there are', async () => {
    app = await serveApp(fakeCaptioner(), {
      rateLimitPerMinute: 1,
      apiKeysText: `anna:${KEY},bob:the-secret-key-of-bob`,
    });
    const [anna, bob] = [{ authorization: `Bearer ${KEY}` }, { authorization: 'Bearer the-secret-key-of-bob' }];
    expect((await post(anna)).status).toBe(200);
    expect((await post(anna)).status).toBe(429);
    expect((await post(bob)).status).toBe(200);
    expect((await post()).status).toBe(401);
  });
});

describe('a request id', () => {
  const idOf = async (given?: string): Promise<string | null> => {
    const response = await fetch(
      `${app.url}/version`,
      given === undefined ? {} : { headers: { 'x-request-id': given } },
    );
    return response.headers.get('x-request-id');
  };

  it('is the client’s own when it is a plain word, otherwise ours', async () => {
    app = await serveApp(fakeCaptioner());
    expect(await idOf('my-request_1.2')).toBe('my-request_1.2');
    expect(await idOf('my-request_1.2')).toBe('my-request_1.2');
    for (const odd of ['short', 'has space in it', 'a'.repeat(65), '<script>alert</script>'])
      expect(await idOf(odd)).toMatch(/^cap-[0-9a-f-]{36}$/);
    expect(await idOf()).toMatch(/^cap-/);
  });

  it('is never that of two requests at a time', async () => {
    const captioner = fakeCaptioner({ wordDelayMs: 300 });
    app = await serveApp(captioner);
    const send = (): Promise<Response> =>
      fetch(`${app.url}/v1/captions`, { method: 'POST', body: form('x'), headers: { 'x-request-id': 'the-same-id' } });
    const ids = (await Promise.all([send(), send(), send()])).map((response) => response.headers.get('x-request-id'));
    expect(new Set(ids).size).toBe(3);
    expect(ids.filter((id) => id === 'the-same-id')).toHaveLength(1);
    expect(await idOf('the-same-id')).toBe('the-same-id');
  });
});

it('every answer is data to a browser: it may run, load and frame nothing', async () => {
  app = await serveApp(fakeCaptioner());
  const answers = [
    await fetch(`${app.url}/v1/captions`, { method: 'POST', body: form('x') }),
    await fetch(`${app.url}/v1/captions`, { method: 'POST', body: form('x', { stream: 'true' }) }),
    await fetch(`${app.url}/nothing`),
    await fetch(`${app.url}/healthz`),
  ];
  for (const { headers } of answers) {
    expect(headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('referrer-policy')).toBe('no-referrer');
  }
  await Promise.all(answers.map((answer) => answer.text()));
});
