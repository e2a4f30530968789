// A server whose engine is killed again and again under load: it never goes away, every request ends once,
// and /readyz tells the truth.
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { openEngineProcess, type EngineProcess } from '../../src/engine-process/open-engine-process.ts';
import { nanoOptions } from '../fixtures/engine-processes.ts';
import { THREE_CLIPS } from '../fixtures/examples.ts';
import { NANO_EXAMPLES } from '../fixtures/nano.ts';
import { SeededRandom } from '../fixtures/seeded-random.ts';
import { parseEvents, serveApp, type ServedApp } from '../fixtures/served-app.ts';
import { stressSize } from '../fixtures/stress-size.ts';

const KILLS = stressSize('kills', { short: 4, long: 40 });
const CLIENTS = 6;
/**
 * One life in so many lasts until a caption has ended in it, however slow the machine; the others end at any moment.
 */
const LONG_LIFE = 4;

let engine: EngineProcess;
let app: ServedApp;
let over = false;

beforeAll(async () => {
  engine = await openEngineProcess(nanoOptions({ prefixSlots: 2, mediaCacheBytes: 2 ** 24 }));
  app = await serveApp(engine, { mediaRoots: [`clips=${NANO_EXAMPLES}`] });
  await engine.ready();
});

afterAll(async () => {
  await app.close();
  await engine.close();
});

/** How one streamed caption ended; more than one ending is a fault, and so is none. */
async function captionOnce(choices: SeededRandom): Promise<string> {
  const body = JSON.stringify({
    media: `media://clips/${choices.pick(THREE_CLIPS)}`,
    stream: true,
    temperature: 1,
    seed: choices.below(1000),
  });
  const response = await fetch(`${app.url}/v1/captions`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json' },
  });
  const text = await response.text();
  if (response.status !== 200)
    return `${response.status} ${(JSON.parse(text) as { error: { code: string } }).error.code}`;
  const endings = parseEvents(text).events.filter(({ event }) => event.startsWith('caption-'));
  return endings
    .map(({ event, data }) => (event === 'caption-error' ? (data['error'] as { code: string }).code : event))
    .join(' and ');
}

async function client(choices: SeededRandom, ends: string[]): Promise<void> {
  while (!over) ends.push(await captionOnce(choices));
}

/** What the probes said that was not so. A state that changed meanwhile may be told either way. */
async function watchProbes(): Promise<string[]> {
  const lies: string[] = [];
  while (!over) {
    const before = engine.status();
    const [ready, alive] = await Promise.all([fetch(`${app.url}/readyz`), fetch(`${app.url}/healthz`)]);
    const after = engine.status();
    const changed = before.state !== after.state || before.restarts !== after.restarts;
    if (!changed && (ready.status === 200) !== (after.state === 'ready'))
      lies.push(`/readyz ${ready.status} while ${after.state}`);
    if (alive.status !== 200) lies.push(`/healthz ${alive.status}`);
    await sleep(20);
  }
  return lies;
}

it('goes on', async () => {
  const ends: string[] = [];
  const captioned = (): number => ends.filter((end) => end === 'caption-end').length;
  const clients = Array.from({ length: CLIENTS }, (_, seed) => client(new SeededRandom(seed), ends));
  const probes = watchProbes();
  const choices = new SeededRandom(99);
  for (let kills = 0; kills < KILLS; kills++) {
    await engine.ready();
    const before = captioned();
    if (kills % LONG_LIFE === 0)
      await vi.waitFor(
        () => {
          expect(captioned()).toBeGreaterThan(before);
        },
        { timeout: 60_000 },
      );
    await sleep(choices.below(300));
    const { pid } = engine.status();
    if (pid === undefined) throw new Error('A ready engine has no process.');
    process.kill(pid, 'SIGKILL');
    await vi.waitFor(
      () => {
        expect(engine.status().restarts).toBe(kills + 1);
      },
      { timeout: 20_000 },
    );
  }
  over = true;
  await Promise.all(clients);
  expect(await probes).toEqual([]);
  expect([...new Set(ends)].sort()).toEqual(['caption-end', 'engine_unavailable']);
  expect(await captionOnce(choices)).toBe('caption-end');
  await vi.waitFor(
    () => {
      expect(engine.stats()).toMatchObject({ running: 0, waiting: 0, freeSlots: 4 });
    },
    { timeout: 20_000 },
  );
  const metrics = await (await fetch(`${app.url}/metrics`)).text();
  expect(metrics).toContain(`avocado_engine_restarts_total ${KILLS}\n`);
  expect(metrics).toContain('avocado_queue_tokens 0\n');
}, 1_200_000);
