// A client that leaves, at every stage, against the real model: work stops, its slot is free, its processes are gone.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Captioner } from '../../src/captioner/captioner.ts';
import { loadNative } from '../../src/base/native.ts';
import { openCaptioner } from '../../src/captioner/open-captioner.ts';
import { decoderProcesses } from '../fixtures/child-processes.ts';
import { makeClip } from '../fixtures/make-clip.ts';
import { exampleOf, WIDE } from '../fixtures/examples.ts';
import { NANO_EXAMPLES, nanoSettings } from '../fixtures/nano.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { serveApp, type ServedApp } from '../fixtures/served-app.ts';

const scratch = scratchDirectory();
/** On a machine that does other things too. */
const PATIENCE = { timeout: 15_000 };
/** A word that makes some ten tokens, so that the prompt is long to read. */
const LONG_PROMPT = 'Incomprehensibilities! '.repeat(1500);

let captioner: Captioner;
let app: ServedApp;
let films: Server;

beforeAll(async () => {
  captioner = await openCaptioner(nanoSettings({ slots: 1 }));
  films = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'video/mp4' }).write('x'.repeat(1000)); // and never the rest
  });
  await new Promise<void>((resolve) => films.listen(0, '127.0.0.1', resolve));
  const short = await makeClip(scratch('short.mp4'), [
    '-f',
    'lavfi',
    '-i',
    'testsrc2=s=1280x720:r=30:d=2',
    '-c:v',
    'libx264',
    '-preset',
    'ultrafast',
    '-pix_fmt',
    'yuv420p',
  ]);
  await makeClip(scratch('long.mp4'), ['-stream_loop', '59', '-i', short, '-c', 'copy']);
  app = await serveApp(captioner, {
    mediaRoots: [`clips=${NANO_EXAMPLES}`, `long=${scratch('.')}`],
    allowCidrs: ['127.0.0.0/8'],
    urlHosts: [filmHost()],
    prepareAhead: 0,
  });
});

afterAll(async () => {
  await app.close();
  await captioner.close();
  films.closeAllConnections();
  films.close();
});

function filmHost(): string {
  return `127.0.0.1:${(films.address() as AddressInfo).port}`;
}

/** Asks for a stream and leaves when its text matches. */
async function leaveAt(pattern: RegExp, body: object): Promise<void> {
  const controller = new AbortController();
  const response = await fetch(`${app.url}/v1/captions`, {
    method: 'POST',
    body: JSON.stringify({ stream: true, ...body }),
    headers: { 'content-type': 'application/json' },
    signal: controller.signal,
  });
  let text = '';
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (pattern.test(text)) break;
  }
  expect(text).toMatch(pattern);
  expect(text).not.toContain('event: caption-');
  controller.abort();
}

async function cancelled(stage: string): Promise<number> {
  const text = await (await fetch(`${app.url}/metrics`)).text();
  return Number(new RegExp(`^avocado_requests_cancelled_total\\{stage="${stage}"\\} (\\d+)$`, 'm').exec(text)?.[1]);
}

/** Nothing of any request is left. */
async function nothingRuns(): Promise<void> {
  await vi.waitFor(async () => {
    expect(decoderProcesses()).toEqual([]);
    expect(captioner.stats()).toMatchObject({ freeSlots: 1, running: 0, waiting: 0 });
    const text = await (await fetch(`${app.url}/metrics`)).text();
    expect([...text.matchAll(/^avocado_requests_(?:running|waiting)\{.*\} (?!0$).*$/gm)]).toEqual([]);
    expect(await app.uploads()).toEqual([]);
  }, PATIENCE);
}

const CLIP = `media://clips/${WIDE}`;
const LONG_CLIP = 'media://long/long.mp4';

describe.skipIf(loadNative() === undefined)(
  `a client that leaves${loadNative() === undefined ? ' (skipped: the native addon is not built here)' : ''}`,
  () => {
    it.each([
      ['fetch', /"stage":"fetch","done":1000/, () => ({ media: `http://${filmHost()}/never.mp4` })],
      ['decode', /"stage":"decode"/, () => ({ media: LONG_CLIP })],
      ['prefill', /"stage":"prefill"/, () => ({ media: CLIP, prompt: LONG_PROMPT })],
      ['generate', /event: text-delta/, () => ({ media: CLIP, temperature: 2, max_tokens: 3000 })],
    ])('in %s stops it there, and is counted there', async (stage, pattern, body) => {
      await leaveAt(pattern, body());
      await vi.waitFor(async () => {
        expect(await cancelled(stage)).toBe(1);
      }, PATIENCE);
      await nothingRuns();
    });

    it('while it waits for its turn leaves the line, and the one that runs alone', async () => {
      const controller = new AbortController();
      const running = fetch(`${app.url}/v1/captions`, {
        method: 'POST',
        body: JSON.stringify({ media: LONG_CLIP }),
        headers: { 'content-type': 'application/json' },
        signal: controller.signal,
      });
      running.catch(() => undefined);
      await vi.waitFor(() => {
        expect(decoderProcesses().some((name) => name.startsWith('ffmpeg'))).toBe(true);
      }, PATIENCE);
      await leaveAt(/"stage":"queued","done":0,"total":0/, { media: CLIP });
      await vi.waitFor(async () => {
        expect(await cancelled('queued')).toBe(1);
      }, PATIENCE);
      expect(decoderProcesses()).not.toEqual([]);
      controller.abort();
      await vi.waitFor(async () => {
        expect(await cancelled('decode')).toBe(2);
      }, PATIENCE);
      await nothingRuns();
    });

    it('leaves a server that captions the next one', async () => {
      const response = await fetch(`${app.url}/v1/captions`, {
        method: 'POST',
        body: JSON.stringify({ media: CLIP }),
        headers: { 'content-type': 'application/json' },
      });
      expect(await response.json()).toMatchObject({ finish_reason: 'stop', caption: exampleOf(WIDE).caption });
    });
  },
);
