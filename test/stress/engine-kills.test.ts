// The engine process is killed again and again under load, also while it loads: nobody is left without an ending,
// and it always comes back.
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { openEngineProcess, type EngineProcess } from '../../src/engine-process/open-engine-process.ts';
import { captionAll, CLIPS, endingsOf, nanoOptions, processesOfGroup } from '../fixtures/engine-processes.ts';
import { SeededRandom } from '../fixtures/seeded-random.ts';
import { stressSize } from '../fixtures/stress-size.ts';

const KILLS = stressSize('kills', { short: 5, long: 40 });
const CALLERS = 6;
/** One life in so many lasts until a caption has ended in it, however slow the machine. */
const LONG_LIFE = 4;

let engine: EngineProcess;
beforeAll(async () => {
  engine = await openEngineProcess(nanoOptions());
  await engine.ready();
});
afterAll(async () => {
  await engine.close();
});

/** Captions one clip after the other and aborts some; adds how each of them ended. */
async function callInALoop(choices: SeededRandom, ends: string[][], isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    const whim = choices.below(10);
    const signal = whim === 0 ? AbortSignal.timeout(choices.below(300)) : undefined;
    ends.push(
      endingsOf(await captionAll(engine, choices.pick(CLIPS), { seed: choices.below(1000), temperature: 1 }, signal)),
    );
  }
}

/** Waits for a caption that ends well from now on. */
async function untilCaptioned(ends: readonly string[][]): Promise<void> {
  const before = ends.length;
  await vi.waitFor(
    () => {
      expect(ends.slice(before).flat()).toContain('caption-end');
    },
    { timeout: 60_000 },
  );
}

/** Mostly amid captions; every third time as soon as there is a process, which then is loading. */
async function killAtRandom(choices: SeededRandom, ends: readonly string[][]): Promise<number[]> {
  const killed: number[] = [];
  while (killed.length < KILLS) {
    if (killed.length % 3 !== 2) await engine.ready();
    if (killed.length % LONG_LIFE === 0) await untilCaptioned(ends);
    await sleep(choices.below(600));
    const { pid } = engine.status();
    if (pid === undefined || killed.includes(pid)) continue;
    process.kill(pid, 'SIGKILL');
    killed.push(pid);
  }
  return killed;
}

it('every caption ends exactly once, nobody waits for ever, and the engine is whole afterwards', async () => {
  let over = false;
  const ends: string[][] = [];
  const callers = Array.from({ length: CALLERS }, (_, n) => callInALoop(new SeededRandom(n), ends, () => over));
  const killed = await killAtRandom(new SeededRandom(1000), ends);
  over = true;
  await Promise.all(callers);

  expect(ends.filter((endings) => endings.length !== 1)).toEqual([]);
  const kinds = new Set(ends.flat());
  expect(
    [...kinds].filter((kind) => !['caption-end', 'caption-aborted', 'caption-error engine_unavailable'].includes(kind)),
  ).toEqual([]);
  expect(kinds).toContain('caption-end');
  expect(kinds).toContain('caption-error engine_unavailable');

  expect(endingsOf(await captionAll(engine, CLIPS[0]!))).toEqual(['caption-end']);
  expect(engine.status()).toMatchObject({ state: 'ready', restarts: KILLS });
  expect(killed.flatMap(processesOfGroup)).toEqual([]);
  await vi.waitFor(
    () => {
      expect(engine.stats()).toMatchObject({ running: 0, waiting: 0, freeSlots: 4 });
    },
    { timeout: 20_000, interval: 50 },
  );
}, 1_200_000);
