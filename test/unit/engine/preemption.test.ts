// Batch sequences that give up their slots to interactive ones.
import { describe, expect, it } from 'vitest';
import { priorityScheduler, type SlotHolder } from '../../../src/engine/scheduler.ts';
import type { SequenceRequest } from '../../../src/engine/types.ts';
import { FakeDecoder } from './fake-decoder.ts';
import { collect, endingOf, requestOf, settle, StreamingEngine, tokensAlone, tokensOf } from './requests.ts';

const SAMPLED = { temperature: 1, seed: 7, repetitionPenalty: 1.2 };

describe('a full engine', () => {
  it('gives a slot to an interactive sequence at once; the batch one goes on as if nothing had been', async () => {
    const decoder = new FakeDecoder({ slots: 1, pause: () => settle(1) });
    const engine = new StreamingEngine(decoder, { prefillChunk: 4 });
    const batch = requestOf({ length: 10, maxTokens: 60, mediaEvery: 3, priority: 'batch', sampling: SAMPLED });
    const interactive = requestOf({ length: 6, salt: 5, maxTokens: 3 });
    const events = collect(engine.stream(batch));
    await settle(10);
    const told = decoder.decoded.length;
    expect(told).toBeGreaterThan(1);
    const [quick, slow] = await Promise.all([collect(engine.stream(interactive)), events]);
    expect(tokensOf(quick)).toEqual(await tokensAlone(interactive));
    expect(tokensOf(slow)).toEqual(await tokensAlone(batch));
    expect(endingOf(slow)).toBe('end length');
    const prefills = slow.flatMap((event) => (event.type === 'prefill' ? [event.done] : []));
    expect(prefills).toEqual([0, 4, 8, 10]); // the second reading is not told
    expect(engine.stats()).toMatchObject({ preemptions: 1, freeSlots: 1, kvUsage: 0 });
    expect(decoder.violations).toEqual([]);
  });

  it('does so amid a prompt too, and at most twice to one sequence', async () => {
    const decoder = new FakeDecoder({ slots: 1, pause: () => settle(1) });
    const engine = new StreamingEngine(decoder, { prefillChunk: 4 });
    const batch = requestOf({ length: 40, maxTokens: 150, priority: 'batch' });
    const slow = collect(engine.stream(batch));
    const quick = [];
    for (let salt = 1; salt <= 4; salt++) {
      await settle(15);
      quick.push(collect(engine.stream(requestOf({ salt, maxTokens: 2 }))));
    }
    const ended = await Promise.all([slow, ...quick]);
    expect(ended.map(endingOf)).toEqual(Array(5).fill('end length'));
    expect(tokensOf(ended[0])).toEqual(await tokensAlone(batch));
    expect(engine.stats().preemptions).toBe(2);
    expect(decoder.violations).toEqual([]);
  });

  it('takes the slot that loses least, and none for a batch sequence or from an interactive one', () => {
    const holder = (id: number, heldTokens: number, more: Partial<SlotHolder> = {}): SlotHolder => ({
      ...{ id, heldTokens, priority: 'batch', nextChunkTokens: 0, isPreemptible: true },
      ...more,
    });
    const scheduler = priorityScheduler(100);
    const holders = [holder(1, 50), holder(2, 9, { isPreemptible: false }), holder(3, 20)];
    const waits = (priority: 'batch' | 'interactive'): SlotHolder[] => [holder(9, 0, { priority })];
    expect(scheduler.preempt(waits('interactive'), holders)?.id).toBe(3);
    expect(scheduler.preempt(waits('batch'), holders)).toBeUndefined();
    const all = holders.map((each) => ({ ...each, priority: 'interactive' as const }));
    expect(scheduler.preempt(waits('interactive'), all)).toBeUndefined();
  });

  it('leaves its slot to a batch sequence that got it in its turn, while interactive ones wait', async () => {
    const engine = new StreamingEngine(new FakeDecoder({ slots: 1, pause: () => settle(1) }), { prefillChunk: 4 });
    const ended: string[] = [];
    const run = async (name: string, request: SequenceRequest): Promise<void> => {
      await collect(engine.stream(request));
      ended.push(name);
    };
    const interactive = [1, 2, 3, 4, 5].map((salt) => run(`i${salt}`, requestOf({ salt, maxTokens: 2 })));
    await Promise.all([...interactive, run('batch', requestOf({ salt: 9, maxTokens: 30, priority: 'batch' }))]);
    expect(ended).toEqual(['i1', 'i2', 'i3', 'batch', 'i4', 'i5']);
    expect(engine.stats().preemptions).toBe(0);
  });

  it('ends a sequence that is aborted while it waits for its slot to come back', async () => {
    const engine = new StreamingEngine(new FakeDecoder({ slots: 1, pause: () => settle(1) }), { prefillChunk: 4 });
    const controller = new AbortController();
    const slow = collect(engine.stream(requestOf({ maxTokens: 60, priority: 'batch' }), controller.signal));
    await settle(10);
    const quick = collect(engine.stream(requestOf({ salt: 1, maxTokens: 40 })));
    await settle(5);
    expect(engine.stats()).toMatchObject({ waiting: 1, running: 1, preemptions: 1 });
    controller.abort();
    expect(endingOf(await slow)).toBe('aborted');
    expect(endingOf(await quick)).toBe('end length');
    expect(engine.stats()).toMatchObject({ waiting: 0, running: 0, freeSlots: 1 });
  });

  it('takes the slot of a batch sequence whose prefix an interactive one waited for', async () => {
    const decoder = new FakeDecoder({ slots: 1, pause: () => settle(1) });
    const engine = new StreamingEngine(decoder, { prefillChunk: 20 });
    const prefix = { key: 'clip', tokens: 100, salt: 1000 };
    const batch = requestOf({ length: 110, maxTokens: 100, priority: 'batch', prefix });
    const slow = collect(engine.stream(batch));
    await settle(3);
    const interactive = requestOf({ length: 110, salt: 1, maxTokens: 3, prefix });
    const quick = collect(engine.stream(interactive));
    await settle(1);
    expect(engine.stats()).toMatchObject({ waiting: 1, running: 1, preemptions: 0 }); // it reads the prefix first
    const answer = await quick;
    expect(engine.stats()).toMatchObject({ preemptions: 1, generatedTokens: 3 });
    expect(tokensOf(answer)).toEqual(await tokensAlone(interactive));
    expect(tokensOf(await slow)).toEqual(await tokensAlone(batch));
    expect(decoder.violations).toEqual([]);
  });

  it('keeps the slot of a sequence whose media are too large to keep', async () => {
    const engine = new StreamingEngine(new FakeDecoder({ slots: 1, pause: () => settle(1) }), { prefillChunk: 4 });
    const request = requestOf({ maxTokens: 40, priority: 'batch', mediaEvery: 2 });
    const mediaEmbeds = new Proxy(request.mediaEmbeds, {
      get: (target, name) => {
        if (name === 'byteLength') return 2 ** 31;
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
    const slow = collect(engine.stream({ ...request, mediaEmbeds }));
    await settle(10);
    const quick = collect(engine.stream(requestOf({ salt: 1, maxTokens: 2 })));
    expect((await Promise.all([slow, quick])).map(endingOf)).toEqual(['end length', 'end length']);
    expect(engine.stats().preemptions).toBe(0);
  });
});
