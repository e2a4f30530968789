// A library that a server captions: the same run, with a server without sockets behind it.
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import type { ResultLine } from '../../../src/batch/types.ts';
import { captionRequest, type CaptionOptions } from '../../../src/captioner/caption-options.ts';
import type { CaptionEnding } from '../../../src/output/ending.ts';
import { askModel, RemoteCaptioner, type RemoteOptions } from '../../../src/remote/remote-captioner.ts';
import { ServerClient } from '../../../src/remote/server-client.ts';
import { batchOptions, libraries, runBatch } from '../../fixtures/batch-run.ts';
import { jsonLines } from '../../fixtures/clip-library.ts';
import { FakeServer } from '../../fixtures/fake-server.ts';
import { hash } from 'node:crypto';

const never = new AbortController().signal;
const libraryOf = libraries();
let server: FakeServer;

beforeEach(() => {
  server = new FakeServer();
  vi.stubGlobal('fetch', server.fetch);
});
afterEach(() => {
  vi.unstubAllGlobals();
});

function client(patienceMs = 600_000, apiKey = 'key'): ServerClient {
  return new ServerClient({ url: 'http://server', apiKey, firstPauseMs: 1, patienceMs });
}

interface Run {
  readonly options?: CaptionOptions;
  readonly roots?: RemoteOptions['roots'];
  readonly patienceMs?: number;
  readonly retryFailed?: boolean;
}

async function run(directory: string, { options = {}, roots = [], patienceMs, retryFailed = false }: Run = {}) {
  const asked = client(patienceMs);
  const served = await askModel(asked, never);
  return await runBatch({
    ...batchOptions(directory),
    identity: served.identity,
    options,
    retryFailed,
    openCaptioner: (library) => RemoteCaptioner.open({ client: asked, served, roots, library, pollMs: 5 }, never),
  });
}

function results(directory: string): ResultLine[] {
  return jsonLines(join(directory, 'captions.jsonl'));
}

/** Nothing of ours stays on a server. */
function leftovers(): readonly string[] {
  return [...server.jobs.keys(), ...server.files.keys()];
}

describe('a library on a server', () => {
  it('is captioned once with its options, and a second run asks for nothing', async () => {
    const directory = libraryOf({ 'a.mp4': '1', 'ä b.mp4': '2', 'same.mp4': '1', 'bad.mp4': 'bad', 'empty.mp4': '' });
    server.shared.set('media://m/%C3%A4%20b.mp4', '2');
    const options = { prompt: 'Why?', segments: 'auto', max_tokens: 9 } as const;
    const first = await run(directory, { options, roots: [{ name: 'm', directory }] });
    expect(first.outcomes).toEqual({ captioned: 2, duplicate: 1, failed: 2 });
    expect(first.report).toMatchObject({ failures: { media_undecodable: 1, media_empty: 1 }, mediaSeconds: 8 });
    expect(server.captioned).toHaveLength(2);
    for (const body of server.captioned) expect(body).toMatchObject(options);
    expect(server.captioned.map(({ media }) => String(media).slice(0, 8)).sort()).toEqual(['file-000', 'media://']);
    expect(results(directory)[0]).toMatchObject({
      caption: 'A red ball rolls.\nMüße 🎈',
      model: 'm',
      precision: 'fp32',
    });
    expect(readFileSync(join(directory, 'a.mp4.txt'), 'utf8')).toContain('A red ball');
    const failures = readFileSync(join(directory, '.avocado/failures.jsonl'), 'utf8');
    expect(failures).toContain('"message":"bad.mp4 is at fault."');
    const second = await run(directory, { options });
    expect(second.outcomes).toEqual({ unchanged: 3, 'failed-before': 2 });
    expect([server.captioned.length, leftovers()]).toEqual([2, []]);
  });

  it('waits for a server that is away, full or starting, and sends a job once', async () => {
    const directory = libraryOf({ 'a.mp4': '1', 'b.mp4': '2' });
    let calls = 0;
    const keys = new Set<string | null>();
    server.lostAnswers = 2;
    server.interfere = (_method, _path, headers) => {
      keys.add(headers.get('authorization'));
      const turn = calls++ % 5;
      if (turn === 1) throw new TypeError('fetch failed');
      if (turn === 2) return new Response('Bad gateway', { status: 502 });
      const full = '{"error":{"code":"storage_full","message":"Full."}}';
      return turn === 3 ? new Response(full, { status: 503, headers: { 'retry-after': '0' } }) : undefined;
    };
    expect((await run(directory)).outcomes).toEqual({ captioned: 2 });
    expect([server.captioned.length, [...keys]]).toEqual([2, ['Bearer key']]);
  });

  it('says what answers instead of a server of ours', async () => {
    server.interfere = () => new Response('null');
    await expect(askModel(client(), never)).rejects.toMatchObject({
      code: 'engine_unavailable',
      message: expect.stringContaining('answers /v1/models with no JSON object') as unknown,
    });
  });

  it('goes on with what a killed process left there', async () => {
    server.isPaused = true;
    const served = await askModel(client(), never);
    const path = join(libraryOf({ 'a.mp4': '1' }), 'a.mp4');
    const request = { ...captionRequest(path, {}), contentHash: hash('sha256', '1') };
    const open = (worker: string): Promise<RemoteCaptioner> => {
      const library = { id: 'library', worker, isDead: (one: string) => one === 'dead' };
      return RemoteCaptioner.open({ client: client(600_000, worker), served, roots: [], library, pollMs: 5 }, never);
    };
    const ask = async (captioner: RemoteCaptioner): Promise<CaptionEnding> =>
      await new Promise((resolve) => {
        void captioner.submit(request, {
          signal: never,
          onEvent: (event) => {
            resolve(event as CaptionEnding);
          },
        });
      });
    const dead = await open('dead');
    void ask(dead);
    await vi.waitFor(() => {
      expect(server.jobs.size).toBe(1);
    }, 30_000);
    // From now on nothing comes of what it asks.
    server.interfere = (_method, _path, headers) =>
      headers.get('authorization') === 'Bearer dead' ? new Promise(() => undefined) : undefined;
    server.isPaused = false;
    const living = await open('living');
    expect(await ask(living)).toMatchObject({ type: 'caption-end' });
    // Once it has been given away, it is made again.
    expect(await ask(living)).toMatchObject({ type: 'caption-end' });
    await living.close();
    expect([server.captioned.length, leftovers()]).toEqual([2, []]);
  });

  it.each([
    ['answers late', 200],
    ['never answers', undefined],
  ])(
    'keeps no upload that was interrupted before the server, which %s, named its file',
    async (_, lateMs) => {
      const interrupt = new AbortController();
      vi.stubGlobal('fetch', async (url: string, init: RequestInit): Promise<Response> => {
        const answer = await server.fetch(url, init);
        if (init.method !== 'POST') return answer;
        setTimeout(() => {
          interrupt.abort();
        });
        await sleep(lateMs ?? 60_000, undefined, { signal: init.signal! });
        if (lateMs !== undefined) server.isUnlisted = true; // its answer alone names the file
        return answer;
      });
      const served = await askModel(client(), never);
      const library = { id: 'library', worker: 'us', isDead: () => false };
      const captioner = await RemoteCaptioner.open({ client: client(), served, roots: [], library }, never);
      const path = join(libraryOf({ 'a.mp4': '1' }), 'a.mp4');
      const endings: string[] = [];
      await captioner.submit(captionRequest(path, {}), {
        signal: interrupt.signal,
        onEvent: ({ type }) => endings.push(type),
      });
      expect([endings, server.files.size]).toEqual([['caption-aborted'], 1]);
      await captioner.close();
      expect(leftovers()).toEqual([]);
    },
    30_000,
  );

  it.each([
    ['has no such root', undefined],
    ['has another file there', 'others'],
  ])('is uploaded where the server %s', async (_, there) => {
    const directory = libraryOf({ 'a.mp4': '1' });
    if (there !== undefined) server.shared.set('media://m/a.mp4', there);
    expect((await run(directory, { roots: [{ name: 'm', directory }] })).outcomes).toEqual({ captioned: 1 });
    expect(results(directory)[0]!.content).toBe(hash('sha256', '1'));
    expect(leftovers()).toEqual([]);
  });

  it('keeps no upload whose answer was lost, which is sent again', async () => {
    const directory = libraryOf({ 'a.mp4': '1' });
    let lost = 1;
    vi.stubGlobal('fetch', async (url: string, init: RequestInit): Promise<Response> => {
      const answer = await server.fetch(url, init);
      if (init.method === 'POST' && url.endsWith('/v1/files') && lost-- > 0) throw new TypeError('fetch failed');
      return answer;
    });
    expect((await run(directory)).outcomes).toEqual({ captioned: 1 });
    expect(leftovers()).toEqual([]);
  });

  it('loses only a file that is removed before it is sent', async () => {
    const directory = libraryOf({ 'a.mp4': '1', 'b.mp4': '2' });
    let isAway = true;
    server.interfere = (_, path) => {
      if (path !== '/v1/files' || !isAway) return undefined;
      isAway = false;
      rmSync(join(directory, 'a.mp4'));
      rmSync(join(directory, 'b.mp4'));
      writeFileSync(join(directory, 'b.mp4'), '2');
      return new Response('Bad gateway', { status: 502 });
    };
    const { outcomes, report } = await run(directory);
    expect([outcomes, report.failures]).toEqual([{ captioned: 1, failed: 1 }, { media_not_found: 1 }]);
  });

  it('loses only a file that the server does not take', async () => {
    const directory = libraryOf({ 'a.mp4': '1', 'b.mp4': '2' });
    let uploads = 0;
    server.interfere = (_, path) =>
      path === '/v1/files' && uploads++ === 0
        ? new Response('{"error":{"code":"media_too_large","message":"Too large."}}', { status: 413 })
        : undefined;
    const { outcomes, report } = await run(directory);
    expect([outcomes, report.failures]).toEqual([{ captioned: 1, failed: 1 }, { media_too_large: 1 }]);
  });

  it.each<[string, (path: string) => Response | undefined, RegExp]>([
    [
      'has another model by now',
      () => {
        server.fingerprint = 'f2';
        return undefined;
      },
      /another model/,
    ],
    [
      'cancels the job',
      (path) => {
        if (path.includes('/items')) server.cancelAll();
        return undefined;
      },
      /cancelled on the server/,
    ],
    [
      'wants another key by now',
      (path) =>
        path === '/v1/jobs'
          ? new Response('{"error":{"code":"unauthorized","message":"Give a key."}}', { status: 401 })
          : undefined,
      /Give a key/,
    ],
    ['stays away', (path) => (path === '/v1/jobs' ? Response.error() : undefined), /answers with status 0|Nothing/],
  ])('stops when the server %s, blames no file, and goes on later', async (_, interfere, message) => {
    const directory = libraryOf({ 'a.mp4': '1', 'b.mp4': '2' });
    let begun = false;
    server.interfere = (method, path) => {
      begun ||= method === 'POST';
      return begun ? interfere(path) : undefined;
    };
    const { thrown, outcomes } = await run(directory, { patienceMs: 0 });
    expect(thrown).toBeInstanceOf(AvocadoError);
    expect(thrown).toMatchObject({ code: 'engine_unavailable', message: expect.stringMatching(message) as string });
    expect(outcomes).toEqual({ open: 2 });
    server.interfere = () => undefined;
    server.fingerprint = 'f1';
    expect((await run(directory)).outcomes).toEqual({ captioned: 2 });
    expect(leftovers()).toEqual([]);
  });

  it('is given up in its time by a server that says to come back tomorrow', async () => {
    server.interfere = () => new Response('Full.', { status: 503, headers: { 'retry-after': '86400' } });
    await expect(askModel(client(20), never)).rejects.toThrow('answers with status 503');
  });

  it('is not asked for without pauses from a server that says to come back at once', async () => {
    let calls = 0;
    server.interfere = () => {
      calls += 1;
      return new Response('Full.', { status: 503, headers: { 'retry-after': '0' } });
    };
    const asked = new ServerClient({ url: 'http://server', apiKey: undefined, firstPauseMs: 100, patienceMs: 300 });
    await expect(askModel(asked, never)).rejects.toThrow('answers with status 503');
    expect(calls).toBeLessThan(8);
  });

  it.each([302, 308])('is not sent to where another server points with %i', async (status) => {
    vi.unstubAllGlobals();
    const asked: string[] = [];
    const elsewhere = createServer(({ method, url }, response) => {
      asked.push(`${String(method)} ${String(url)}`);
      response.writeHead(status, { location: '/there' }).end('{}');
    }).listen(0, '127.0.0.1');
    await once(elsewhere, 'listening');
    const url = `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}`;
    const call = { method: 'POST', path: '/v1/jobs', body: {} } as const;
    await expect(
      new ServerClient({ url, apiKey: 'key' }).json(call, never).finally(() => elsewhere.close()),
    ).rejects.toMatchObject({
      code: 'engine_unavailable',
      message: `${url}/v1/jobs is redirected to ${url}/there, which is not followed. Give the server's own URL.`,
    });
    expect(asked).toEqual(['POST /v1/jobs']);
  });

  it('is not begun on a server that is no server of captions', async () => {
    server.interfere = (_, path) => (path === '/v1/models' ? new Response('<html>') : undefined);
    await expect(askModel(client(), never)).rejects.toThrow('Is it an avocado server');
    server.interfere = (_, path) => (path === '/v1/models' ? new Response('{"data":[{"id":"gpt"}]}') : undefined);
    await expect(askModel(client(), never)).rejects.toThrow('no avocado server, or an older one');
  });
});
