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

let engine: EngineProcess;
beforeAll(async () => {
  engine = await openEngineProcess(nanoOptions());
  await engine.ready();
});
afterAll(async () => {
  await engine.close();
});

/** Captions one clip after the other and aborts some; how each of them ended. */
async function callInALoop(choices: SeededRandom, isOver: () => boolean): Promise<string[][]> {
  const all: string[][] = [];
  while (!isOver()) {
    const whim = choices.below(10);
    const signal = whim === 0 ? AbortSignal.timeout(choices.below(300)) : undefined;
    all.push(
      endingsOf(await captionAll(engine, choices.pick(CLIPS), { seed: choices.below(1000), temperature: 1 }, signal)),
    );
  }
  return all;
}

/** Mostly amid captions; every third time as soon as there is a process, which then is loading. */
async function killAtRandom(choices: SeededRandom): Promise<number[]> {
  const killed: number[] = [];
  while (killed.length < KILLS) {
    if (killed.length % 3 !== 2) await engine.ready();
    await sleep(choices.below(1200)); // long enough for some captions to end on a busy machine
    const { pid } = engine.status();
    if (pid === undefined || killed.includes(pid)) continue;
    process.kill(pid, 'SIGKILL');
    killed.push(pid);
  }
  return killed;
}

it('every caption ends exactly once, nobody waits for ever, and the engine is whole afterwards', async () => {
  let over = false;
  const callers = Array.from({ length: CALLERS }, (_, n) => callInALoop(new SeededRandom(n), () => over));
  const killed = await killAtRandom(new SeededRandom(1000));
  over = true;
  const ends = (await Promise.all(callers)).flat();

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
