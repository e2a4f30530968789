import { afterEach, describe, expect, it, vi } from 'vitest';
import { fakeCaptioner } from '../fixtures/fake-captioner.ts';
import { form, serveApp, type ServedApp } from '../fixtures/served-app.ts';

let app: ServedApp;

afterEach(async () => {
  await app.close();
});

async function get(path: string): Promise<[status: number, body: Record<string, unknown>]> {
  const response = await fetch(`${app.url}${path}`);
  return [response.status, (await response.json()) as Record<string, unknown>];
}

describe('/healthz', () => {
  it('says dead only while work stands still for longer than the engine’s supervisor needs', async () => {
    const captioner = fakeCaptioner();
    app = await serveApp(captioner, { stallMs: 300 });
    const alive = async (): Promise<number> => (await get('/healthz'))[0];
    expect(await alive()).toBe(200);
    captioner.numbers = { ...captioner.numbers, busy: true };
    await vi.waitFor(async () => {
      expect(await alive()).toBe(503);
    });
    expect(await get('/v1/health/live')).toEqual([
      503,
      {
        status: 'stalled',
        engine: 'ready',
        text: '',
        done: 1,
        total: 1,
        restarts: 0,
        running: 0,
        waiting: 0,
        steps: 7,
      },
    ]);
    captioner.numbers = { ...captioner.numbers, progress: captioner.numbers.progress + 1 };
    expect(await alive()).toBe(200);
  });

  it('is content while the engine loads or comes back, and not when it is gone for good', async () => {
    const captioner = fakeCaptioner();
    app = await serveApp(captioner, { stallMs: 30 });
    captioner.numbers = { ...captioner.numbers, busy: true };
    captioner.state = {
      ...captioner.state,
      state: 'restarting',
      text: 'The engine died. It is started again.',
      done: 0,
      restarts: 1,
    };
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await get('/healthz')).toMatchObject([
      200,
      { status: 'ok', engine: 'restarting', text: 'The engine died. It is started again.', restarts: 1 },
    ]);
    captioner.state = { ...captioner.state, state: 'stopped' };
    expect(await get('/healthz')).toMatchObject([503, { status: 'stopped' }]);
  });
});

describe('/readyz', () => {
  it('is full while long files hold all decoders and others wait', async () => {
    const captioner = fakeCaptioner();
    app = await serveApp(captioner);
    captioner.numbers = { ...captioner.numbers, decoding: { running: 4, waiting: 2, stalledMs: 40_000 } };
    expect(await get('/readyz')).toMatchObject([
      503,
      { status: 'full', text: '4 long files hold all decoders for 40 s, and 2 wait.' },
    ]);
    expect((await get('/ping'))[0]).toBe(200);
    captioner.numbers = { ...captioner.numbers, decoding: { running: 2, waiting: 2, stalledMs: 5000 } };
    expect((await get('/readyz'))[0]).toBe(200);
  });

  it('tells in words what the engine is doing until it takes requests', async () => {
    const captioner = fakeCaptioner();
    app = await serveApp(captioner);
    captioner.state = { ...captioner.state, state: 'loading', text: 'Loading vision', done: 1, total: 3 };
    for (const path of ['/readyz', '/health', '/v1/health/ready']) {
      expect(await get(path)).toEqual([
        503,
        { status: 'loading', text: 'Loading vision', done: 1, total: 3, model: 'fake-nano', free_slots: 2 },
      ]);
    }
    expect(await get('/ping')).toEqual([503, { status: 'loading' }]);
    captioner.state = { ...captioner.state, state: 'ready', text: '' };
    expect(await get('/readyz')).toMatchObject([200, { status: 'ready' }]);
    expect(await get('/ping')).toEqual([200, { status: 'ready' }]);
  });

  it('says no while the queue is full, which is no reason to be restarted', async () => {
    const captioner = fakeCaptioner({ wordDelayMs: 300 });
    app = await serveApp(captioner, { maxRequests: 1 });
    const request = fetch(`${app.url}/v1/captions`, { method: 'POST', body: form('x') });
    await vi.waitFor(() => {
      expect(captioner.seen).toHaveLength(1);
    });
    expect(await get('/readyz')).toMatchObject([503, { status: 'full' }]);
    expect(await get('/ping')).toEqual([200, { status: 'full' }]);
    expect((await get('/healthz'))[0]).toBe(200);
    await (await request).text();
    expect((await get('/readyz'))[0]).toBe(200);
  });

  it('says no as soon as a stop was asked for, while what runs still ends', async () => {
    const captioner = fakeCaptioner({ wordDelayMs: 300 });
    app = await serveApp(captioner, { drainMs: 20_000 });
    const request = fetch(`${app.url}/v1/captions`, { method: 'POST', body: form('x') });
    await vi.waitFor(() => {
      expect(captioner.seen).toHaveLength(1);
    });
    const stopped = app.stop();
    await vi.waitFor(async () => {
      expect(await get('/readyz')).toMatchObject([503, { status: 'stopping' }]);
    });
    const refused = await fetch(`${app.url}/v1/captions`, { method: 'POST', body: form('x') });
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '5']);
    const answer = await request;
    expect([answer.status, ((await answer.json()) as { caption: string }).caption]).toEqual([
      200,
      'A red ball rolls.\nMüße 🎈',
    ]);
    await stopped;
  });
});

it('/version tells which', async () => {
  app = await serveApp(fakeCaptioner());
  expect(await get('/version')).toEqual([200, { version: '1.2.3' }]);
});
