import { Buffer } from 'node:buffer';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Captioner } from '../../src/captioner/captioner.ts';
import { openCaptioner } from '../../src/captioner/open-captioner.ts';
import { engineSettings } from '../../src/settings/engine-settings.ts';
import { golden } from '../fixtures/golden.ts';
import { hostilePictures } from '../fixtures/hostile-media.ts';
import { malformedRequests } from '../fixtures/malformed-requests.ts';
import { SeededRandom } from '../fixtures/seeded-random.ts';
import { form, serveApp, type ServedApp } from '../fixtures/served-app.ts';
import { stressSize } from '../fixtures/stress-size.ts';

const MALFORMED = stressSize('malformed requests', { short: 500, long: 9500 });
const DAMAGED = stressSize('damaged clips', { short: 40, long: 500 });
const PICTURES = stressSize('hostile pictures', { short: 60, long: 10_000 });
const AT_ONCE = 8;
const NANO = new URL('../../models/avocado-nano', import.meta.url).pathname;

let captioner: Captioner;
let app: ServedApp;

beforeAll(async () => {
  captioner = await openCaptioner(
    engineSettings({ modelDir: NANO, threads: 0, slots: 4, prefixSlots: 0, mediaCacheBytes: 0 }),
  );
  app = await serveApp(captioner, { maxRequests: 64 });
});

afterAll(async () => {
  await app.close();
  await captioner.close();
});

function isComplete(answer: string): boolean {
  const [head, body] = answer.split('\r\n\r\n');
  const length = /^content-length: (\d+)/im.exec(head ?? '')?.[1];
  return body !== undefined && length !== undefined && Buffer.byteLength(body) >= Number(length);
}

/**
 * What the server says to raw bytes, on a connection that stays open: Node takes one that is closed
 * half for a client that left.
 */
function exchange(port: number, bytes: Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(bytes);
    });
    let answer = '';
    socket.setTimeout(60_000, () => socket.destroy(new Error('No answer in a minute.')));
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString();
      if (isComplete(answer)) socket.destroy();
    });
    // A server that refuses a head may close on what is still being sent.
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNRESET' || error.code === 'EPIPE') resolve(answer);
      else reject(error);
    });
    socket.on('close', () => {
      resolve(answer);
    });
  });
}

async function inParallel<T>(items: Iterable<T>, work: (item: T) => Promise<void>): Promise<void> {
  const rest = items[Symbol.iterator]();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let next = rest.next(); next.done !== true; next = rest.next()) await work(next.value);
    }),
  );
}

function statusOf(answer: string): number {
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0);
}

/** How the files are answered, which must be a caption or an error that blames the file; with counts. */
async function endingsOf(files: readonly Uint8Array<ArrayBuffer>[]): Promise<Map<string, number>> {
  const answers = new Map<string, number>();
  await inParallel(files, async (bytes) => {
    const response = await fetch(`${app.url}/v1/captions`, { method: 'POST', body: form(bytes, { max_tokens: '2' }) });
    const body = (await response.json()) as { readonly caption?: string; readonly error?: { readonly code: string } };
    const said =
      response.status === 200 && body.caption !== undefined
        ? 'caption'
        : `${response.status >= 400 && response.status < 500 ? 'refused' : response.status} ${body.error?.code ?? 'no code'}`;
    answers.set(said, (answers.get(said) ?? 0) + 1);
  });
  expect(
    [...answers.keys()].filter(
      (said) => said !== 'caption' && !/^refused (media_\w+|context_length_exceeded)$/.test(said),
    ),
  ).toEqual([]);
  return answers;
}

describe('a server under hostile input', () => {
  it(
    `answers ${MALFORMED} malformed requests with 4xx and a code each, and keeps nothing`,
    { timeout: 1_200_000 },
    async () => {
      const complaints: string[] = [];
      const statuses = new Map<number, number>();
      const before = process.memoryUsage().rss;
      await inParallel(malformedRequests(MALFORMED, 20261121), async ({ title, bytes }) => {
        const answer = await exchange(app.port, bytes);
        const status = statusOf(answer);
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        const code = /"code":"(\w+)"/.exec(answer)?.[1];
        if (status < 400 || status >= 500 || code === undefined)
          complaints.push(`${title}: ${answer.slice(0, 200)} <- ${bytes.subarray(0, 300).toString('latin1')}`);
      });
      expect(complaints.slice(0, 10)).toEqual([]);
      expect(statuses.size).toBeGreaterThan(4); // not one refusal for everything
      expect(await app.uploads()).toEqual([]);
      expect((process.memoryUsage().rss - before) / 2 ** 20).toBeLessThan(300);
      expect((await fetch(`${app.url}/healthz`)).status).toBe(200);
    },
  );

  it(
    `ends ${DAMAGED} damaged clips in a caption or an error of theirs, and captions a good one afterwards`,
    { timeout: 1_200_000 },
    async () => {
      const clip = await readFile(golden('clips/av-4s.mp4'));
      const random = new SeededRandom(7);
      const damaged = Array.from({ length: DAMAGED }, () => {
        const bytes = Uint8Array.from(clip);
        if (random.below(3) === 0) return bytes.subarray(0, random.below(bytes.length));
        for (let left = 1 + random.below(200); left > 0; left--) bytes[random.below(bytes.length)] = random.below(256);
        return bytes;
      });
      const answers = await endingsOf(damaged);
      expect(answers.size).toBeGreaterThan(1);
      const { freeSlots, slots } = captioner.stats();
      expect(freeSlots).toBe(slots);
      expect(await app.uploads()).toEqual([]);
      const good = await fetch(`${app.url}/v1/captions`, {
        method: 'POST',
        body: form(Uint8Array.from(clip), { max_tokens: '4' }),
      });
      expect(good.status).toBe(200);
    },
  );

  it(`ends ${PICTURES} damaged and disguised pictures likewise`, { timeout: 1_200_000 }, async () => {
    const answers = await endingsOf(hostilePictures(PICTURES, 20261127));
    expect(answers.size).toBeGreaterThan(2);
    expect(captioner.stats().decoding).toEqual({ running: 0, waiting: 0, stalledMs: 0 });
    expect(await app.uploads()).toEqual([]);
  });
});
