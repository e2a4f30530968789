// Many clients that leave whenever they like, against the real model in its own process: nothing of them stays.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { openEngineProcess, type EngineProcess } from '../../src/engine-process/open-engine-process.ts';
import { loadNative } from '../../src/base/native.ts';
import { decoderProcesses } from '../fixtures/child-processes.ts';
import { THREE_CLIPS } from '../fixtures/examples.ts';
import { NANO_EXAMPLES, nanoSettings } from '../fixtures/nano.ts';
import { SeededRandom } from '../fixtures/seeded-random.ts';
import { form, parseEvents, serveApp, type ServedApp } from '../fixtures/served-app.ts';
import { stressSize } from '../fixtures/stress-size.ts';

const CLIENTS = stressSize('clients that leave', { short: 80, long: 800 });
const AT_ONCE = 25;
const MOST_PATIENCE_MS = 1200;

const random = new SeededRandom(200);

let engine: EngineProcess;
let app: ServedApp;

beforeAll(async () => {
  engine = await openEngineProcess({ settings: nanoSettings({ slots: 4 }) });
  await engine.ready();
  app = await serveApp(engine, { mediaRoots: [`clips=${NANO_EXAMPLES}`], maxRequests: 16 });
});

afterAll(async () => {
  await app.close();
  await engine.close();
});

/** Sends an upload in two parts, and hangs up between or after them. */
async function leaveUpload(bytes: Buffer, patienceMs: number): Promise<void> {
  const head = '--b\r\ncontent-disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n';
  const length = head.length + bytes.length + '\r\n--b--\r\n'.length;
  const socket = connect(app.port, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.resume();
  socket.write(
    `POST /v1/captions HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: ${length}\r\n\r\n${head}`,
  );
  socket.write(bytes.subarray(0, bytes.length >> 1));
  await sleep(patienceMs);
  socket.destroy();
}

/** @returns the status, where it stayed long enough to hear one */
async function leaveFetch(clip: string, patienceMs: number): Promise<number | undefined> {
  const controller = new AbortController();
  const timer = setTimeout(() => {
    controller.abort();
  }, patienceMs);
  const stream = random.pick(['true', 'false']);
  const path = random.pick(['/v1/captions', '/v1/captions', '/v1/captions/estimate']);
  const priority = random.pick(['interactive', 'batch']);
  const byName = random.below(2) === 0;
  const body = byName
    ? JSON.stringify({ media: `media://clips/${clip}`, stream: stream === 'true', priority })
    : form(readFileSync(join(NANO_EXAMPLES, clip)), { stream, priority });
  try {
    const response = await fetch(`${app.url}${path}`, {
      method: 'POST',
      body,
      signal: controller.signal,
      ...(byName ? { headers: { 'content-type': 'application/json' } } : {}),
    });
    await response.text();
    return response.status;
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}

async function client(): Promise<number | undefined> {
  const clip = random.pick(THREE_CLIPS);
  const patienceMs = random.below(MOST_PATIENCE_MS);
  if (random.below(5) > 0) return leaveFetch(clip, patienceMs);
  await leaveUpload(readFileSync(join(NANO_EXAMPLES, clip)), patienceMs / 4);
  return undefined;
}

/** Files below the app's temporary directory that this process still has open. */
function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((descriptor) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${descriptor}`);
      return path.startsWith(app.temporaryDirectory) ? [path] : [];
    } catch {
      return []; // closed while we looked
    }
  });
}

async function metrics(): Promise<string> {
  return (await fetch(`${app.url}/metrics`)).text();
}

describe.skipIf(loadNative() === undefined)(
  `clients that leave${loadNative() === undefined ? ' (skipped: the native addon is not built here)' : ''}`,
  () => {
    it('leave no slot, process, file or place in the queue behind, and a server that answers', async () => {
      const statuses: (number | undefined)[] = [];
      let started = 0;
      const chain = async (): Promise<void> => {
        while (started < CLIENTS) {
          started += 1;
          statuses.push(await client());
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, chain));

      expect(statuses).toHaveLength(CLIENTS);
      const heard = statuses.filter((status) => status !== undefined);
      expect(heard.filter((status) => status !== 200 && status !== 429)).toEqual([]);
      expect(statuses.filter((status) => status === undefined).length).toBeGreaterThan(CLIENTS / 10);
      await vi.waitFor(
        async () => {
          expect(engine.stats()).toMatchObject({ freeSlots: 4, running: 0, waiting: 0, busy: false });
          expect(decoderProcesses(engine.status().pid)).toEqual([]);
          expect(await app.uploads()).toEqual([]);
          expect(openFiles()).toEqual([]);
          expect(
            [
              ...(await metrics()).matchAll(
                /^avocado_(?:requests_(?:running|waiting)\{.*\}|queue_work_seconds|queue_tokens) (?!0$).*$/gm,
              ),
            ].map(String),
          ).toEqual([]);
        },
        { timeout: 20_000, interval: 100 },
      );
      expect(engine.status()).toMatchObject({ state: 'ready', restarts: 0 });
      expect(
        Number(/^avocado_requests_cancelled_total\{stage="receive"\} (\d+)$/m.exec(await metrics())?.[1]),
      ).toBeGreaterThan(0);

      const answers = await Promise.all(
        THREE_CLIPS.map(async (clip) => {
          const response = await fetch(`${app.url}/v1/captions`, {
            method: 'POST',
            body: form(readFileSync(join(NANO_EXAMPLES, clip)), { stream: 'true' }),
          });
          return parseEvents(await response.text()).events.at(-1);
        }),
      );
      expect(answers.map((end) => [end?.event, end?.data['finish_reason']])).toEqual(
        THREE_CLIPS.map(() => ['caption-end', 'stop']),
      );
    }, 1_200_000);
  },
);
