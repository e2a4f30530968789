import { describe, expect, it } from 'vitest';
import { Engine } from '../../../src/engine/engine.ts';
import { Random } from '../../../src/engine/random.ts';
import type { SequenceEvent } from '../../../src/engine/types.ts';
import { FakeDecoder } from './fake-decoder.ts';
import { endingOf, isTerminal, requestOf, settle } from './requests.ts';

interface History {
  readonly endings: string[];
  readonly violations: readonly string[];
}

/** One reader with a mind of its own: reads all, leaves early, or aborts after a while. */
async function read(engine: Engine, random: Random, number: number): Promise<SequenceEvent[] | 'left'> {
  const draw = (below: number): number => Math.floor(random.nextUnit() * below);
  const request = requestOf({
    salt: number,
    length: 1 + draw(70),
    mediaEvery: draw(4),
    maxTokens: 1 + draw(25),
    stopIds: draw(2) === 0 ? [] : [draw(37), draw(37)],
    sampling: { temperature: draw(2), seed: number, repetitionPenalty: draw(2) === 0 ? 1 : 1.1, topP: draw(2) === 0 ? 1 : 0.7 },
  });
  const controller = new AbortController();
  const [leaveAfter, abortAfter] = [draw(4) === 0 ? draw(20) : Infinity, draw(3) === 0 ? draw(30) : Infinity];
  const seen: SequenceEvent[] = [];
  await settle(draw(30));
  if (abortAfter === 0) controller.abort();
  if (draw(8) === 0) void settle(draw(15)).then(() => { controller.abort(); });
  for await (const event of engine.submit(request, controller.signal)) {
    seen.push(event);
    if (seen.length >= abortAfter) controller.abort();
    if (seen.length >= leaveAfter && !isTerminal(event)) return 'left';
    if (draw(5) === 0) await settle(draw(3));
  }
  return seen;
}

async function history(seed: number): Promise<History> {
  const random = Random.fromSeed(seed);
  const draw = (below: number): number => Math.floor(random.nextUnit() * below);
  const failureRate = draw(3) * 0.02;
  const decoder = new FakeDecoder({
    slots: 1 + draw(4),
    capacity: 64,
    fails: () => random.nextUnit() < failureRate,
    pause: () => (draw(3) === 0 ? settle(1) : Promise.resolve()),
  });
  const engine = new Engine(decoder, { prefillChunk: 1 + draw(24) });
  const closes = draw(5) === 0;
  const readers = Array.from({ length: 12 }, (_, number) => read(engine, Random.fromSeed(seed * 1000 + number), number));
  if (closes) {
    await settle(draw(30));
    await engine.close();
  }
  const outcomes = await Promise.all(readers);
  await settle(5);
  expect(engine.stats()).toMatchObject({ waiting: 0, running: 0, freeSlots: decoder.slots });
  expect(decoder.lengths).toEqual(new Array(decoder.slots).fill(0));
  for (const events of outcomes) {
    if (events === 'left') continue;
    expect(events.filter(isTerminal)).toHaveLength(1);
    expect(isTerminal(events.at(-1) ?? { type: 'prefill', done: 0, total: 0 })).toBe(true);
  }
  return { endings: outcomes.map((events) => (events === 'left' ? 'left' : endingOf(events))), violations: decoder.violations };
}

describe('Engine in random histories of submits, aborts, leavers, failures and closes', () => {
  const reached = new Set<string>();

  it.each([0, 1, 2, 3, 4, 5, 6, 7])('ends every sequence exactly once and has all slots free afterwards, histories %i', async (block) => {
    for (let index = 0; index < 25; index++) {
      const { endings, violations } = await history(block * 25 + index);
      expect(violations).toEqual([]);
      for (const ending of endings) reached.add(ending);
    }
  });

  it('reached every kind of ending in them', () => {
    const expected = ['aborted', 'end length', 'end stop', 'error context_length_exceeded', 'error engine_error', 'error engine_unavailable', 'left'];
    expect([...reached].sort()).toEqual(expected);
  });
});
