import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';

import { priorityScheduler, type Scheduler } from '../../../src/engine/scheduler.ts';
import type { Priority } from '../../../src/base/priority-turns.ts';
import type { SequenceEvent } from '../../../src/engine/types.ts';
import { FakeDecoder } from './fake-decoder.ts';
import { collect, endingOf, isTerminal, requestOf, settle, tokensOf, StreamingEngine } from './requests.ts';

/** A pause that the test ends by hand. */
function gate(): { pause: () => Promise<void>; open: () => void; closed: () => void } {
  let release: (() => void)[] = [];
  let isClosed = true;
  return {
    pause: () => (isClosed ? new Promise((resolve) => release.push(resolve)) : Promise.resolve()),
    open: () => {
      isClosed = false;
      for (const resolve of release) resolve();
      release = [];
    },
    closed: () => {
      isClosed = true;
    },
  };
}

describe('Engine', () => {
  it('tells prefill progress, then tokens, then the end', async () => {
    const decoder = new FakeDecoder();
    const events = await collect(
      new StreamingEngine(decoder, { prefillChunk: 4 }).stream(requestOf({ length: 10, maxTokens: 3 })),
    );
    expect(events.map(({ type }) => type)).toEqual([
      'prefill',
      'prefill',
      'prefill',
      'prefill',
      'token',
      'token',
      'token',
      'end',
    ]);
    expect(events.slice(0, 4)).toEqual([0, 4, 8, 10].map((done) => ({ type: 'prefill', done, total: 10 })));
    expect(endingOf(events)).toBe('end length');
    expect(decoder.violations).toEqual([]);
  });

  it("samples the first token from the prompt's logits and feeds it right after the prompt, shifted by the rope delta", async () => {
    const decoder = new FakeDecoder();
    const events = await collect(
      new StreamingEngine(decoder).stream(requestOf({ length: 10, ropeDelta: -4, maxTokens: 4 })),
    );
    const tokens = tokensOf(events);
    expect(decoder.decoded).toEqual(
      tokens.slice(0, 3).map((token, index) => [{ slot: 0, temperature: 1, token, position: 6 + index }]),
    );
  });

  it('ends with stop at a stop id, which is the last token told', async () => {
    const free = tokensOf(await collect(new StreamingEngine(new FakeDecoder()).stream(requestOf({ maxTokens: 30 }))));
    const stopId = free[5] ?? -1;
    const events = await collect(
      new StreamingEngine(new FakeDecoder()).stream(requestOf({ maxTokens: 30, stopIds: [999, stopId] })),
    );
    expect(tokensOf(events)).toEqual(free.slice(0, free.indexOf(stopId) + 1));
    expect(endingOf(events)).toBe('end stop');
  });

  it('fills a slot with prompt and caption, and never beyond', async () => {
    const decoder = new FakeDecoder({ capacity: 16 });
    const engine = new StreamingEngine(decoder);
    const events = await collect(engine.stream(requestOf({ length: 10, maxTokens: 1000 })));
    expect(tokensOf(events)).toHaveLength(6);
    expect(endingOf(events)).toBe('end length');
    expect(tokensOf(await collect(engine.stream(requestOf({ length: 15, maxTokens: 1000 }))))).toHaveLength(1);
    expect(decoder.violations).toEqual([]);
  });

  it('refuses a prompt that leaves no room for a token, and goes on', async () => {
    const decoder = new FakeDecoder({ capacity: 16 });
    const engine = new StreamingEngine(decoder);
    const refused = await collect(engine.stream(requestOf({ length: 16 })));
    expect(refused).toHaveLength(1);
    expect(endingOf(refused)).toBe('error context_length_exceeded');
    expect(decoder.order).toEqual([]);
    expect(endingOf(await collect(engine.stream(requestOf({ length: 8, maxTokens: 2 }))))).toBe('end length');
  });

  it('keeps running sequences flowing while a long prompt is read', async () => {
    const decoder = new FakeDecoder();
    const engine = new StreamingEngine(decoder, { prefillChunk: 8 });
    const short = collect(engine.stream(requestOf({ length: 4, maxTokens: 12 })));
    const long = collect(engine.stream(requestOf({ length: 64, maxTokens: 2, salt: 1 })));
    await Promise.all([short, long]);
    const longestPrefillRun = decoder.order
      .join(' ')
      .split('decode')
      .map((part) => part.split('prefill').length - 1);
    expect(Math.max(...longestPrefillRun.slice(1))).toBe(1);
    expect(decoder.violations).toEqual([]);
  });

  it('decodes all live sequences in one run, in the order of slots', async () => {
    const decoder = new FakeDecoder({ slots: 3 });
    const engine = new StreamingEngine(decoder);
    await Promise.all([0, 1, 2].map((salt) => collect(engine.stream(requestOf({ salt, length: 5, maxTokens: 5 })))));
    expect(decoder.decoded.map((rows) => rows.map(({ slot }) => slot))).toEqual(new Array(4).fill([0, 1, 2]));
  });

  it('makes sequences wait in order when all slots are held', async () => {
    const decoder = new FakeDecoder({ slots: 1 });
    const engine = new StreamingEngine(decoder);
    const ended: number[] = [];
    const all = [0, 1, 2].map(async (salt) => {
      await collect(engine.stream(requestOf({ salt, maxTokens: 3 })));
      ended.push(salt);
    });
    expect(engine.stats()).toMatchObject({ waiting: 3, running: 0, freeSlots: 1 });
    await Promise.all(all);
    expect(ended).toEqual([0, 1, 2]);
  });

  it('gives the same tokens alone and in company, greedy or sampled, with and without penalty', async () => {
    const requests = Array.from({ length: 9 }, (_, salt) =>
      requestOf({
        salt,
        length: 5 + salt * 6,
        mediaEvery: salt % 3,
        maxTokens: 20,
        sampling: {
          temperature: salt % 2,
          seed: salt,
          topK: salt % 4 === 1 ? 6 : 0,
          topP: salt % 4 === 3 ? 0.8 : 1,
          repetitionPenalty: salt > 4 ? 1.2 : 1,
        },
      }),
    );
    const alone = [];
    for (const request of requests)
      alone.push(await collect(new StreamingEngine(new FakeDecoder(), { prefillChunk: 8 }).stream(request)));
    const decoder = new FakeDecoder({ slots: 3 });
    const engine = new StreamingEngine(decoder, { prefillChunk: 8 });
    const together = await Promise.all(requests.map((request) => collect(engine.stream(request))));
    expect(together).toEqual(alone);
    expect(decoder.violations).toEqual([]);
  });

  it('draws another seed for every request that names none', async () => {
    const engine = new StreamingEngine(new FakeDecoder());
    const run = async () =>
      tokensOf(await collect(engine.stream(requestOf({ maxTokens: 30, sampling: { temperature: 5 } }))));
    expect(await run()).not.toEqual(await run());
  });

  it('counts what it did', async () => {
    const engine = new StreamingEngine(new FakeDecoder({ slots: 2 }), { prefillChunk: 4 });
    const before = performance.now();
    await Promise.all([0, 1, 2].map((salt) => collect(engine.stream(requestOf({ salt, length: 10, maxTokens: 5 })))));
    await settle(1);
    const stats = engine.stats();
    expect(stats).toMatchObject({ waiting: 0, running: 0, freeSlots: 2, generatedTokens: 15, promptTokens: 30 });
    expect(stats.steps).toBeGreaterThan(7);
    expect(stats.lastStepAtMs).toBeGreaterThanOrEqual(before);
  });

  it('tells the most likely tokens beside each one when asked', async () => {
    const tell = async (topLogprobs: number) =>
      (await collect(new StreamingEngine(new FakeDecoder()).stream(requestOf({ topLogprobs, maxTokens: 4 })))).filter(
        ({ type }) => type === 'token',
      );
    const [without, withTop] = [await tell(0), await tell(3)];
    for (const event of withTop) {
      if (event.type !== 'token') throw new Error('not a token');
      expect(event.top).toHaveLength(3);
      expect(event.top[0]).toEqual({ id: event.id, logprob: event.logprob });
    }
    expect(withTop.map((event) => ({ ...event, top: [] }))).toEqual(without);
  });

  it('counts how full the slots are and every run that came back', async () => {
    const engine = new StreamingEngine(new FakeDecoder({ slots: 2, capacity: 100 }), { prefillChunk: 8 });
    const seen: number[] = [];
    for await (const event of engine.stream(requestOf({ length: 20, maxTokens: 30 })))
      if (event.type === 'token') seen.push(engine.stats().kvUsage);
    expect(Math.max(...seen)).toBeGreaterThan(0.1); // 20 prompt tokens of 200, and what was generated
    expect(Math.max(...seen)).toBeLessThanOrEqual(0.25);
    await settle(1);
    expect(engine.stats()).toMatchObject({ kvUsage: 0, progress: 3 + 29 });
  });

  it('lets batch sequences go behind interactive ones, for slots and for prompts, without forgetting them', async () => {
    const engine = new StreamingEngine(new FakeDecoder({ slots: 1 }));
    const ended: string[] = [];
    const run = async (priority: Priority, salt: number): Promise<void> => {
      await collect(engine.stream(requestOf({ salt, priority, maxTokens: 2 })));
      ended.push(priority);
    };
    await Promise.all([
      ...[0, 1].map((salt) => run('batch', salt)),
      ...[2, 3, 4, 5, 6].map((salt) => run('interactive', salt)),
    ]);
    expect(ended).toEqual([
      ...new Array<Priority>(3).fill('interactive'),
      'batch',
      'interactive',
      'interactive',
      'batch',
    ]);
  });

  it('lets timers run while a decoder answers at once', async () => {
    const engine = new StreamingEngine(new FakeDecoder({ capacity: 1_000_000 }));
    const controller = new AbortController();
    const events = collect(engine.stream(requestOf({ maxTokens: 900_000 }), controller.signal));
    for (let fired = 0; fired < 3; fired++) await sleep(1);
    expect(engine.stats().running).toBe(1);
    controller.abort();
    expect(endingOf(await events)).toBe('aborted');
  });
});

describe('Engine when a sequence is aborted', () => {
  it('tells a waiting one at once, without running it', async () => {
    const decoder = new FakeDecoder({ slots: 1 });
    const engine = new StreamingEngine(decoder);
    const controller = new AbortController();
    const first = collect(engine.stream(requestOf({ maxTokens: 50 })));
    const second = collect(engine.stream(requestOf({ salt: 1 }), controller.signal));
    controller.abort();
    expect(engine.stats().waiting).toBe(1);
    expect(endingOf(await second)).toBe('aborted');
    expect(endingOf(await first)).toBe('end length');
    expect(decoder.chunks).toHaveLength(1);
  });

  it('tells one whose signal has already fired, and only that', async () => {
    const engine = new StreamingEngine(new FakeDecoder());
    expect(await collect(engine.stream(requestOf(), AbortSignal.abort()))).toEqual([{ type: 'aborted' }]);
    expect(engine.stats()).toMatchObject({ waiting: 0, running: 0, freeSlots: 4 });
  });

  it('terminates the prefill run of that sequence and reads no further chunk', async () => {
    const hold = gate();
    const decoder = new FakeDecoder({ pause: hold.pause });
    const engine = new StreamingEngine(decoder, { prefillChunk: 4 });
    const controller = new AbortController();
    const events = collect(engine.stream(requestOf({ length: 40 }), controller.signal));
    await settle();
    controller.abort();
    expect(endingOf(await events)).toBe('aborted'); // the reader need not wait for the run
    expect(engine.stats().freeSlots).toBe(3); // the slot does: the run still writes into it
    hold.open();
    await settle();
    expect(engine.stats().freeSlots).toBe(4);
    // the signal reached the run
    expect([decoder.order, decoder.chunks, decoder.lengths]).toEqual([['prefill'], [], [0, 0, 0, 0]]);
  });

  it('frees the slot of a running one after the step in flight, and the others do not notice', async () => {
    const alone = await collect(new StreamingEngine(new FakeDecoder()).stream(requestOf({ salt: 1, maxTokens: 20 })));
    const hold = gate();
    hold.open();
    const decoder = new FakeDecoder({ slots: 2, pause: hold.pause });
    const engine = new StreamingEngine(decoder);
    const controller = new AbortController();
    const other = collect(engine.stream(requestOf({ salt: 1, maxTokens: 20 })));
    const seen: SequenceEvent[] = [];
    for await (const event of engine.stream(requestOf({ maxTokens: 100 }), controller.signal)) {
      seen.push(event);
      if (tokensOf(seen).length !== 5 || event.type !== 'token') continue;
      hold.closed();
      controller.abort();
      expect(engine.stats().freeSlots).toBe(0);
      hold.open();
    }
    expect(endingOf(seen)).toBe('aborted');
    expect(seen.filter(isTerminal)).toHaveLength(1);
    expect(await other).toEqual(alone);
    expect(engine.stats().freeSlots).toBe(2);
    expect(decoder.violations).toEqual([]);
  });

  it('takes a reader that leaves for an abort', async () => {
    const engine = new StreamingEngine(new FakeDecoder({ capacity: 100_000 }));
    for await (const event of engine.stream(requestOf({ maxTokens: 90_000 }))) if (event.type === 'token') break;
    await settle();
    expect(engine.stats()).toMatchObject({ running: 0, freeSlots: 4 });
  });

  it('keeps no listener on the signal of a sequence that has ended', async () => {
    const engine = new StreamingEngine(new FakeDecoder());
    const controller = new AbortController();
    let listeners = 0;
    const signal = controller.signal;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...parameters: Parameters<typeof add>) => {
      listeners++;
      add(...parameters);
    };
    signal.removeEventListener = (...parameters: Parameters<typeof remove>) => {
      listeners--;
      remove(...parameters);
    };
    for (let turn = 0; turn < 5; turn++) await collect(engine.stream(requestOf({ maxTokens: 2 }), signal));
    expect(listeners).toBe(0);
  });
});

describe('Engine when the decoder fails', () => {
  it('ends only the sequence whose prefill failed', async () => {
    let failures = 1;
    const decoder = new FakeDecoder({ fails: (run, [slot]) => run === 'prefill' && slot === 1 && failures-- > 0 });
    const engine = new StreamingEngine(decoder);
    const endings = await Promise.all(
      [0, 1, 2].map(async (salt) => endingOf(await collect(engine.stream(requestOf({ salt }))))),
    );
    expect(endings).toEqual(['end length', 'error engine_error', 'end length']);
    expect(engine.stats().freeSlots).toBe(4);
  });

  it('ends every sequence of a failed decode step, and the next ones run', async () => {
    let failing = true;
    const decoder = new FakeDecoder({ slots: 2, fails: (run) => run === 'decode' && failing });
    const engine = new StreamingEngine(decoder);
    const both = await Promise.all([0, 1].map((salt) => collect(engine.stream(requestOf({ salt })))));
    expect(both.map(endingOf)).toEqual(['error engine_error', 'error engine_error']);
    const last = both[0]?.at(-1);
    expect(last?.type === 'error' && last.error.message).toContain('injected decode failure. Send the request again');
    expect(last?.type === 'error' && last.error.cause).toBeInstanceOf(Error);
    failing = false;
    expect(endingOf(await collect(engine.stream(requestOf())))).toBe('end length');
    expect(decoder.violations).toEqual([]);
  });

  it('ends all and goes on when a policy plans nothing or a slot cannot be freed', async () => {
    let idle = true;
    const decoder = new FakeDecoder();
    const policy = priorityScheduler(64);
    const scheduler: Scheduler = { ...policy, admit: (waiting) => (idle ? undefined : policy.admit(waiting)) };
    const engine = new StreamingEngine(decoder, { scheduler });
    expect(endingOf(await collect(engine.stream(requestOf())))).toBe('error engine_error');
    idle = false;
    const free = decoder.free.bind(decoder);
    decoder.free = () => {
      decoder.free = free;
      return Promise.reject(new Error('injected failure'));
    };
    const events = await Promise.all(
      [0, 1].map((salt) => collect(engine.stream(requestOf({ salt, maxTokens: 2 + salt * 5 })))),
    );
    expect(events.map((seen) => seen.filter(isTerminal).length)).toEqual([1, 1]);
    await settle();
    expect(engine.stats().freeSlots).toBe(4);
  });
});

describe('Engine.close', () => {
  it('ends everybody, refuses newcomers, and waits for the run in flight', async () => {
    const hold = gate();
    const decoder = new FakeDecoder({ slots: 1, pause: hold.pause });
    const engine = new StreamingEngine(decoder);
    const all = [0, 1].map((salt) => collect(engine.stream(requestOf({ salt }))));
    await settle();
    let isClosed = false;
    const closing = engine.close().then(() => {
      isClosed = true;
    });
    expect((await Promise.all(all)).map(endingOf)).toEqual(['error engine_unavailable', 'error engine_unavailable']);
    await settle();
    expect(isClosed).toBe(false);
    hold.open();
    await closing;
    expect(engine.stats()).toMatchObject({ waiting: 0, running: 0, freeSlots: 1 });
    expect(endingOf(await collect(engine.stream(requestOf())))).toBe('error engine_unavailable');
    await engine.close();
  });
});
