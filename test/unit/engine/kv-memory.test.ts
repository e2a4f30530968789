// A KV cache with more slots than memory to fill them: sequences start as there is memory for all of their tokens.
import { describe, expect, it } from 'vitest';
import { Foreground } from '../../../src/base/foreground.ts';
import type { SequenceRequest } from '../../../src/engine/types.ts';
import { FakeDecoder, type FakeDecoderOptions, type Run } from './fake-decoder.ts';
import {
  collect,
  endingOf,
  requestOf,
  settle,
  StreamingEngine,
  tokensAlone,
  tokensOf,
  type RequestOptions,
} from './requests.ts';

const BLOCK = 10;

/** Needs `blocks` blocks. */
function needing(blocks: number, salt: number, options: RequestOptions = {}): SequenceRequest {
  const maxTokens = options.maxTokens ?? 8;
  return requestOf({ salt, length: BLOCK * blocks - maxTokens, maxTokens, ...options });
}

function opened(options: FakeDecoderOptions): { decoder: FakeDecoder; engine: StreamingEngine } {
  const decoder = new FakeDecoder({ slots: 8, capacity: 4 * BLOCK, blockTokens: BLOCK, ...options });
  return { decoder, engine: new StreamingEngine(decoder, { prefillChunk: 16 }) };
}

/** Runs sequences and notes their names as they end. */
function inOrderOfEnding(engine: StreamingEngine) {
  const ended: string[] = [];
  const run = async (name: string, request: SequenceRequest): Promise<void> => {
    await collect(engine.stream(request));
    ended.push(name);
  };
  return { ended, run };
}

describe('an engine with less memory than slots', () => {
  it('runs as many sequences at once as there is memory for, with the tokens that each has alone', async () => {
    const { decoder, engine } = opened({ blocks: 5 });
    const requests = [1, 2, 1, 3, 1, 4, 1].map(needing);
    const ended = await Promise.all(requests.map((request) => collect(engine.stream(request))));
    expect(ended.map(tokensOf)).toEqual(await Promise.all(requests.map(tokensAlone)));
    expect(Math.max(...decoder.decoded.map(({ length }) => length))).toBe(3); // 1 + 2 + 1 blocks of 5
    expect(decoder.heldBlocks).toBe(0);
    expect(decoder.violations).toEqual([]);
  });

  it('takes the memory of several batch sequences for an interactive one, and none where that is not enough', async () => {
    const { decoder, engine } = opened({ blocks: 5, pause: () => settle(1) });
    const batch = [1, 2, 3].map((salt) => needing(1, salt, { maxTokens: 6, priority: 'batch' }));
    const large = needing(2, 4, { maxTokens: 12 });
    const events = [...batch, large].map((request) => collect(engine.stream(request)));
    await settle(6);
    const larger = needing(4, 5);
    const tooMuch = collect(engine.stream(larger));
    await settle(2);
    expect(engine.stats()).toMatchObject({ running: 4, waiting: 1, preemptions: 0 }); // at most 3 of 4 blocks
    const [quick, ...others] = await Promise.all([tooMuch, ...events]);
    expect(tokensOf(quick)).toEqual(await tokensAlone(larger));
    expect(others.map(tokensOf)).toEqual(await Promise.all([...batch, large].map(tokensAlone)));
    expect(decoder.violations).toEqual([]);
  });

  it('preempts batch sequences until there is enough', async () => {
    const { decoder, engine } = opened({ blocks: 4, pause: () => settle(1) });
    const batch = [1, 2, 3, 4].map((salt) => needing(1, salt, { maxTokens: 6, priority: 'batch' }));
    const slow = batch.map((request) => collect(engine.stream(request)));
    await settle(6);
    expect(engine.stats().running).toBe(4);
    const request = needing(3, 5, { maxTokens: 2 });
    const quick = await collect(engine.stream(request));
    expect(tokensOf(quick)).toEqual(await tokensAlone(request));
    expect(engine.stats().preemptions).toBe(3);
    expect((await Promise.all(slow)).map(tokensOf)).toEqual(await Promise.all(batch.map(tokensAlone)));
    expect(decoder.violations).toEqual([]);
  });

  it('lets no sequence overtake an interactive one that waits for memory', async () => {
    const { engine } = opened({ blocks: 4, pause: () => settle(1) });
    const { ended, run } = inOrderOfEnding(engine);
    const first = run('first', needing(2, 1, { maxTokens: 14 }));
    await settle(4);
    const large = run('large', needing(4, 2, { maxTokens: 2 }));
    const small = [3, 4, 5, 6, 7].map((salt) => run('small', needing(1, salt, { maxTokens: 2 })));
    const batch = run('batch', needing(1, 8, { maxTokens: 2, priority: 'batch' }));
    await Promise.all([first, large, ...small, batch]);
    expect(ended.slice(0, 2)).toEqual(['first', 'large']);
  });

  it('gives the turn of a batch sequence without room to an interactive one', async () => {
    const { engine } = opened({ blocks: 4, pause: () => settle(1) });
    const { ended, run } = inOrderOfEnding(engine);
    const long = run('long', needing(3, 1, { maxTokens: 25 }));
    await settle(4);
    const batch = run('batch', needing(2, 2, { maxTokens: 2, priority: 'batch' }));
    const small = [3, 4, 5, 6, 7, 8].map((salt) => run('small', needing(1, salt, { maxTokens: 1 })));
    await Promise.all([long, batch, ...small]);
    expect(ended).toEqual([...new Array<string>(6).fill('small'), 'long', 'batch']);
  });

  it.each([false, true])(
    'starts a batch sequence beside interactive ones without end, where somebody waits for a first token: %s',
    async (isHeld) => {
      const foreground = new Foreground();
      const decoder = new FakeDecoder({ slots: 8, capacity: 4 * BLOCK, blockTokens: BLOCK, blocks: 4 });
      const engine = new StreamingEngine(decoder, { prefillChunk: 16, foreground });
      let isOver = false;
      let begun = 0;
      const client = async (salt: number): Promise<void> => {
        while (!isOver && begun < 500) {
          const maxTokens = 2 + (begun++ % 5);
          if (isHeld && begun === 20) foreground.enter();
          await collect(engine.stream(needing(1, salt, { maxTokens })));
        }
      };
      const clients = [1, 2, 3].map(client);
      const request = needing(4, 4, { priority: 'batch' });
      const events = await collect(engine.stream(request)).finally(() => (isOver = true));
      expect(tokensOf(events)).toEqual(await tokensAlone(request));
      // It is overtaken 64 times, and then by nobody.
      expect(begun).toBeGreaterThan(64);
      expect(begun).toBeLessThan(80);
      await Promise.all(clients);
      expect(decoder.violations).toEqual([]);
    },
  );

  it('holds up nobody for a batch sequence that was overtaken and has left', async () => {
    const decoder = new FakeDecoder({ slots: 8, capacity: 800, blockTokens: 200, blocks: 4, pause: () => settle(1) });
    const engine = new StreamingEngine(decoder);
    const small = (salt: number): SequenceRequest => requestOf({ salt, maxTokens: 1 });
    const long = collect(engine.stream(requestOf({ length: 50, maxTokens: 500 })));
    await settle(4);
    const leaver = new AbortController();
    const left = collect(engine.stream(requestOf({ length: 700, priority: 'batch' }), leaver.signal));
    await settle(4);
    for (let salt = 0; salt < 64; salt++) await collect(engine.stream(small(salt)));
    const held = collect(engine.stream(small(64)));
    await settle();
    expect(engine.stats()).toMatchObject({ running: 1, waiting: 2 });
    leaver.abort();
    expect(endingOf(await left)).toBe('aborted');
    expect(endingOf(await held)).toBe('end length');
    expect(engine.stats()).toMatchObject({ running: 1, waiting: 0 });
    expect(endingOf(await long)).toBe('end length');
    expect(decoder.violations).toEqual([]);
  });

  it('drops the prefixes that were not used for longest, and last that of the sequence itself', async () => {
    const options = { capacity: 12 * BLOCK, prefixSlots: 3, blocks: 24 };
    const { decoder, engine } = opened(options);
    const about = (clip: number, salt: number, maxTokens = 8): SequenceRequest =>
      requestOf({ length: 80, maxTokens, salt, prefix: { key: `clip ${clip}`, tokens: 70, salt: 1000 + clip } });
    for (const clip of [0, 1]) await collect(engine.stream(about(clip, 1)));
    expect(decoder.heldBlocks).toBe(14);
    // 12 of 10 blocks: the prefix of clip 1 goes, although that of clip 0 is older
    const taken = (await collect(engine.stream(about(0, 2, 40))))[0];
    expect(taken).toMatchObject({ type: 'prefill', done: 70 });
    expect(decoder.heldBlocks).toBe(7);
    expect((await collect(engine.stream(about(1, 2))))[0]).toMatchObject({ type: 'prefill', done: 0 });
    expect(decoder.violations).toEqual([]);
  });

  it('ends a sequence whose memory cannot be given, and only that', async () => {
    let lacks = true;
    const { decoder, engine } = opened({ blocks: 5, lacksMemory: (slot) => slot === 0 && lacks });
    const ended = await Promise.all([1, 2].map((salt) => collect(engine.stream(needing(1, salt)))));
    expect(ended.map(endingOf)).toEqual(['error engine_error', 'end length']);
    lacks = false;
    expect(endingOf(await collect(engine.stream(needing(4, 3))))).toBe('end length');
    expect(engine.stats()).toMatchObject({ running: 0, freeSlots: 8, kvUsage: 0 });
    expect(decoder.violations).toEqual([]);
  });

  it('ends nothing and loses no memory where a slot cannot be emptied', async () => {
    let failures = 0;
    const fails = (run: Run): boolean => run === 'free' && ++failures > 0;
    const { decoder, engine } = opened({ capacity: 12 * BLOCK, prefixSlots: 1, blocks: 30, fails });
    const about = (clip: number, salt: number, maxTokens: number): SequenceRequest =>
      requestOf({ length: 80, maxTokens, salt, prefix: { key: `clip ${clip}`, tokens: 70, salt: 1000 + clip } });
    const long = collect(engine.stream(needing(12, 1, { maxTokens: 60 })));
    // Each drops the prefix of the one before.
    for (const clip of [0, 1, 0, 1])
      expect(endingOf(await collect(engine.stream(about(clip, 2, 5))))).toBe('end length');
    expect(endingOf(await long)).toBe('end length');
    expect(failures).toBe(5 + 3);
    expect(engine.stats().kvReserved).toBeCloseTo(7 / 30);
    expect(decoder.heldBlocks).toBe(7);
    expect(decoder.violations).toEqual([]);
  });

  it('tells how full the memory is', async () => {
    const { engine } = opened({ blocks: 5 });
    const usages: number[] = [];
    const reserved: number[] = [];
    for await (const { type } of engine.stream(needing(2, 1, { maxTokens: 10 })))
      if (type === 'token') {
        usages.push(engine.stats().kvUsage);
        reserved.push(engine.stats().kvReserved);
      }
    expect(usages[0]).toBe(10 / 50);
    expect(reserved[0]).toBe(2 / 5);
    expect(engine.stats()).toMatchObject({ kvUsage: 0, kvReserved: 0 });
  });
});
