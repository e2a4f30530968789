import { describe, expect, it } from 'vitest';

import { Random } from '../../../src/base/random.ts';
import type { SequenceEvent, SequenceRequest } from '../../../src/engine/types.ts';
import { FakeDecoder } from './fake-decoder.ts';
import { collect, endingOf, isTerminal, requestOf, settle, StreamingEngine } from './requests.ts';

const CAPACITY = 160;

interface History {
  readonly endings: string[];
  readonly prefixHits: number;
  readonly preemptions: number;
  readonly violations: readonly string[];
}

/**
 * Any prompt, of either class; every other one starts with one of three clips, a few of them too
 * short to be worth a copy.
 */
function randomRequest(draw: (below: number) => number, number: number): SequenceRequest {
  const clip = draw(6);
  const prefix = clip >= 3 ? undefined : { key: `clip ${clip}`, tokens: 60 + 20 * clip, salt: 1000 + clip };
  return requestOf({
    salt: number,
    length: (prefix?.tokens ?? 1) + draw(65),
    mediaEvery: draw(2) === 0 ? 0 : 3,
    maxTokens: 1 + draw(25),
    stopIds: draw(2) === 0 ? [] : [draw(37), draw(37)],
    sampling: {
      temperature: draw(2),
      seed: number,
      repetitionPenalty: draw(2) === 0 ? 1 : 1.1,
      presencePenalty: draw(2),
      topP: draw(2) === 0 ? 1 : 0.7,
    },
    priority: draw(3) === 0 ? 'batch' : 'interactive',
    topLogprobs: draw(3),
    ...(prefix === undefined ? {} : { prefix }),
  });
}

/** n readers of one prompt, each with a mind of its own: reads all, leaves early, or aborts after a while. */
async function readAll(engine: StreamingEngine, random: Random, number: number): Promise<(SequenceEvent[] | 'left')[]> {
  const draw = (below: number): number => Math.floor(random.nextUnit() * below);
  const request = randomRequest(draw, number);
  const samples = draw(3) === 0 ? 3 : 1;
  await settle(draw(30));
  return Promise.all(Array.from({ length: samples }, () => read(engine, request, draw)));
}

async function read(
  engine: StreamingEngine,
  request: SequenceRequest,
  draw: (below: number) => number,
): Promise<SequenceEvent[] | 'left'> {
  const controller = new AbortController();
  const [leaveAfter, abortAfter] = [draw(4) === 0 ? draw(20) : Infinity, draw(3) === 0 ? draw(30) : Infinity];
  const seen: SequenceEvent[] = [];
  if (abortAfter === 0) controller.abort();
  if (draw(8) === 0)
    void settle(draw(15)).then(() => {
      controller.abort();
    });
  for await (const event of engine.stream(request, controller.signal)) {
    seen.push(event);
    if (seen.length >= abortAfter) controller.abort();
    if (seen.length >= leaveAfter && !isTerminal(event)) return 'left';
    if (draw(5) === 0) await settle(draw(3));
  }
  return seen;
}

/** No memory is held by what has ended: a sequence that needs all of it gets it. */
async function expectAllMemory(engine: StreamingEngine): Promise<void> {
  const whole = requestOf({ length: CAPACITY / 2, maxTokens: CAPACITY / 2 });
  expect(endingOf(await collect(engine.stream(whole)))).toBe('end length');
}

/** Every prefix slot can be filled and found again: none is held by what has ended. */
async function expectWholeCache(engine: StreamingEngine, prefixSlots: number): Promise<void> {
  const prompts = Array.from({ length: prefixSlots }, (_, salt) =>
    requestOf({ length: 70, salt, prefix: { key: `fresh ${salt}`, tokens: 65, salt } }),
  );
  for (const prompt of prompts) await collect(engine.stream(prompt));
  for (const prompt of prompts)
    expect((await collect(engine.stream(prompt)))[0]).toEqual({ type: 'prefill', done: 65, total: 70 });
}

function expectOneEnding(events: SequenceEvent[] | 'left'): void {
  if (events === 'left') return;
  expect(events.filter(isTerminal)).toHaveLength(1);
  expect(isTerminal(events.at(-1) ?? { type: 'prefill', done: 0, total: 0 })).toBe(true);
}

async function history(seed: number): Promise<History> {
  const random = Random.fromSeed(seed);
  const draw = (below: number): number => Math.floor(random.nextUnit() * below);
  let failureRate = draw(3) * 0.02;
  const [slots, prefixSlots] = [1 + draw(4), draw(3)];
  const [shares, blockTokens] = [draw(2) === 0, 16];
  const blocks = CAPACITY / blockTokens + draw(15);
  const decoder = new FakeDecoder({
    slots,
    prefixSlots,
    capacity: CAPACITY,
    ...(shares ? { blockTokens, blocks, lacksMemory: () => random.nextUnit() < failureRate } : {}),
    ...(seed % 2 === 0 ? {} : { shortlist: 12 }),
    fails: () => random.nextUnit() < failureRate,
    pause: () => (draw(3) === 0 ? settle(1) : Promise.resolve()),
  });
  const engine = new StreamingEngine(decoder, { prefillChunk: 1 + draw(48) });
  const closes = draw(5) === 0;
  const readers = Array.from({ length: 10 }, (_, number) =>
    readAll(engine, Random.fromSeed(seed * 1000 + number), number),
  );
  if (closes) {
    await settle(draw(60));
    await engine.close();
  }
  const outcomes = (await Promise.all(readers)).flat();
  await settle(5);
  expect(engine.stats()).toMatchObject({ waiting: 0, running: 0, freeSlots: decoder.slots, kvUsage: 0 });
  expect(decoder.lengths).toEqual(new Array(decoder.slots).fill(0));
  outcomes.forEach(expectOneEnding);
  failureRate = 0;
  if (!closes) {
    await expectAllMemory(engine);
    if (!shares) await expectWholeCache(engine, decoder.prefixSlots);
  }
  const { prefixHits, preemptions } = engine.stats();
  return {
    preemptions,
    endings: outcomes.map((events) => (events === 'left' ? 'left' : endingOf(events))),
    prefixHits,
    violations: decoder.violations,
  };
}

describe('Engine in random histories of submits, aborts, leavers, failures and closes', () => {
  const reached = new Set<string>();
  let prefixHits = 0;
  let preemptions = 0;

  it.each([0, 1, 2, 3, 4, 5, 6, 7])(
    'ends every sequence exactly once and has all slots free afterwards, histories %i',
    async (block) => {
      for (let index = 0; index < 25; index++) {
        const run = await history(block * 25 + index);
        expect(run.violations).toEqual([]);
        for (const ending of run.endings) reached.add(ending);
        prefixHits += run.prefixHits;
        preemptions += run.preemptions;
      }
    },
  );

  it('reached every kind of ending in them, and took many a start over', () => {
    const expected = [
      'aborted',
      'end length',
      'end stop',
      'error context_length_exceeded',
      'error engine_error',
      'error engine_unavailable',
      'left',
    ];
    expect([...reached].sort()).toEqual(expected);
    expect(prefixHits).toBeGreaterThan(250);
    expect(preemptions).toBeGreaterThan(100);
  });
});
