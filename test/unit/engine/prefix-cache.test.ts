import { describe, expect, it } from 'vitest';
import { PrefixSlots } from '../../../src/engine/prefix-cache.ts';
import type { SequenceEvent, SequenceRequest } from '../../../src/engine/types.ts';
import { FakeDecoder, type FakeDecoderOptions, type Run } from './fake-decoder.ts';
import { collect, endingOf, requestOf, settle, tokensOf, type RequestOptions, StreamingEngine } from './requests.ts';

const TOKENS = 100;
const CHUNK = 32;

/** A prompt about a clip: the same first 100 tokens for the same clip, another end for another salt. */
function about(clip: number, salt: number, options: RequestOptions = {}): SequenceRequest {
  return requestOf({
    length: 130,
    mediaEvery: 3,
    maxTokens: 6,
    salt,
    prefix: { key: `clip ${clip}`, tokens: TOKENS, salt: 1000 + clip },
    ...options,
  });
}

function opened(options: FakeDecoderOptions = {}): { decoder: FakeDecoder; engine: StreamingEngine } {
  const decoder = new FakeDecoder(options);
  return { decoder, engine: new StreamingEngine(decoder, { prefillChunk: CHUNK }) };
}

async function alone(request: SequenceRequest): Promise<SequenceEvent[]> {
  return collect(opened().engine.stream(request));
}

function takenOf(events: readonly SequenceEvent[]): number {
  const first = events[0];
  return first?.type === 'prefill' ? first.done : -1;
}

/** Reads until the first token, and the rest later. */
async function untilToken(events: AsyncIterableIterator<SequenceEvent, undefined>): Promise<void> {
  for (let result = await events.next(); result.value?.type !== 'token'; result = await events.next())
    if (result.done === true) throw new Error('ended early');
}

describe('A prompt that starts like another', () => {
  it('is cut at its prefix whether anything is reused or not, and run once where it is stored', async () => {
    const { decoder, engine } = opened({ prefixSlots: 2 });
    const requests = [about(0, 1), about(0, 2), about(0, 3)];
    const found = [];
    for (const request of requests) found.push(await collect(engine.stream(request)));
    expect(found.map(takenOf)).toEqual([0, TOKENS, TOKENS]);
    expect(found.map(tokensOf)).toEqual(
      await Promise.all(requests.map(async (request) => tokensOf(await alone(request)))),
    );
    expect(decoder.chunks.map(({ start, ids }) => [start, ids.length])).toEqual([
      [0, 32],
      [32, 32],
      [64, 32],
      [96, 4],
      [100, 30],
      [100, 30],
      [100, 30],
    ]);
    expect(decoder.copies.map(({ from, to }) => [from, to])).toEqual([
      [0, 4],
      [4, 0],
      [4, 0],
    ]);
    expect(engine.stats()).toMatchObject({ prefixHits: 2, prefixMisses: 1, promptTokens: 190 });
    expect(decoder.violations).toEqual([]);
  });

  it('is copied from a live sequence where no slot stores it', async () => {
    const { decoder, engine } = opened();
    const first = engine.stream(about(0, 1, { maxTokens: 100 }));
    await untilToken(first);
    const second = await collect(engine.stream(about(0, 2)));
    expect(takenOf(second)).toBe(TOKENS);
    expect(tokensOf(second)).toEqual(tokensOf(await alone(about(0, 2))));
    expect(endingOf(await collect(first))).toBe('end length');
    expect(takenOf(await collect(engine.stream(about(0, 3))))).toBe(0); // nobody lives who has it
    expect(decoder.violations).toEqual([]);
  });

  it('is run once for n samples of it, sampled each for itself', async () => {
    const { decoder, engine } = opened();
    const samples = [0, 1, 2, 3].map((seed) => about(0, 1, { sampling: { temperature: 1, seed } }));
    const found = await Promise.all(samples.map((request) => collect(engine.stream(request))));
    expect(found.map(takenOf)).toEqual([0, TOKENS, TOKENS, TOKENS]);
    expect(found.map(tokensOf)).toEqual(
      await Promise.all(samples.map(async (request) => tokensOf(await alone(request)))),
    );
    expect(decoder.chunks.filter(({ start }) => start < TOKENS)).toHaveLength(4);
    expect(decoder.violations).toEqual([]);
  });

  it('keeps the last token of a prompt that is nothing but its prefix', async () => {
    const { decoder, engine } = opened({ prefixSlots: 1 });
    const whole = about(0, 0, { length: TOKENS });
    const found = [await collect(engine.stream(whole)), await collect(engine.stream(whole))];
    expect(found.map(takenOf)).toEqual([0, TOKENS - 1]);
    expect(tokensOf(found[1] ?? [])).toEqual(tokensOf(found[0] ?? []));
    expect(decoder.violations).toEqual([]);
  });

  it('is never mixed up with another key, nor with another length under the same key', async () => {
    const { decoder, engine } = opened({ prefixSlots: 4 });
    await collect(engine.stream(about(0, 1)));
    const shorter = about(0, 2, { prefix: { key: 'clip 0', tokens: 80, salt: 1000 } });
    for (const request of [about(1, 1), shorter]) {
      const events = await collect(engine.stream(request));
      expect(takenOf(events)).toBe(0);
      expect(events).toEqual(await alone(request));
    }
    expect(decoder.violations).toEqual([]);
  });

  it('is not worth a copy below 64 tokens', async () => {
    const { decoder, engine } = opened({ prefixSlots: 4 });
    const short = about(0, 1, { prefix: { key: 'short', tokens: 63, salt: 5 } });
    await Promise.all([short, short].map((request) => collect(engine.stream(request))));
    expect(decoder.copies).toEqual([]);
    expect(engine.stats()).toMatchObject({ prefixHits: 0, prefixMisses: 0 });
  });

  it('stays stored while it is asked for, and makes room when it is not', async () => {
    const { engine } = opened({ prefixSlots: 2 });
    const taken = [];
    for (const clip of [0, 1, 0, 2, 0, 1]) taken.push(takenOf(await collect(engine.stream(about(clip, 9)))));
    expect(taken).toEqual([0, 0, TOKENS, 0, TOKENS, 0]);
  });
});

describe('A prompt whose start is being read by another', () => {
  it('waits for it without a slot, while others go first', async () => {
    const { decoder, engine } = opened({ slots: 3 });
    const started: string[] = [];
    const run = async (name: string, request: SequenceRequest): Promise<void> => {
      for await (const event of engine.stream(request))
        if (event.type === 'prefill' && !started.includes(name)) started.push(name);
    };
    await Promise.all([run('first', about(0, 1)), run('second', about(0, 2)), run('other', requestOf({ length: 5 }))]);
    expect(started).toEqual(['first', 'other', 'second']);
    expect(decoder.violations).toEqual([]);
  });

  it.each([
    ['is aborted', {}],
    ['fails', { fails: true }],
  ])('reads it itself when that one %s', async (_, { fails = false }: { fails?: boolean }) => {
    let failures = fails ? 1 : 0;
    const { decoder, engine } = opened({
      fails: (run, slots) => run === 'prefill' && slots[0] === 0 && decoder.chunks.length === 2 && failures-- > 0,
    });
    const controller = new AbortController();
    const first = (async () => {
      const seen: SequenceEvent[] = [];
      for await (const event of engine.stream(about(0, 1), controller.signal)) {
        seen.push(event);
        if (!fails && event.type === 'prefill' && event.done === 64) controller.abort();
      }
      return seen;
    })();
    const second = collect(engine.stream(about(0, 2)));
    expect(endingOf(await first)).toBe(fails ? 'error engine_error' : 'aborted');
    expect(await second).toEqual(await alone(about(0, 2)));
    await settle();
    expect(engine.stats()).toMatchObject({ waiting: 0, running: 0, freeSlots: 4 });
    expect(decoder.violations).toEqual([]);
  });

  it('makes that one as urgent as itself', async () => {
    const { engine } = opened({ slots: 8, pause: () => settle(2) });
    const started: string[] = [];
    const run = async (name: string, request: SequenceRequest): Promise<void> => {
      for await (const event of engine.stream(request))
        if (event.type === 'token' && !started.includes(name)) started.push(name);
    };
    const slow = run('batch', about(0, 1, { priority: 'batch' }));
    await settle(1); // its first chunk is under way
    // Each of these reads eight chunks, and a batch prompt beside them gets one of four.
    const others = ['a', 'b', 'c'].map((name, salt) => run(name, requestOf({ salt, length: 250, maxTokens: 2 })));
    await Promise.all([slow, run('urgent', about(0, 2)), ...others]);
    expect(started[0]).toBe('batch');
  });
});

describe('A copy that fails', () => {
  const failing = (which: (slots: readonly number[]) => boolean) => ({
    fails: (run: Run, slots: readonly number[]) => run === 'copy' && which(slots),
  });

  it('is made up for by reading the prompt', async () => {
    const { decoder, engine } = opened({ prefixSlots: 1, ...failing(([from = 0]) => from === 4) });
    const found = [];
    for (const salt of [1, 2]) found.push(await collect(engine.stream(about(0, salt))));
    expect(found).toEqual([await alone(about(0, 1)), await alone(about(0, 2))]);
    expect(engine.stats()).toMatchObject({ prefixHits: 0, prefixMisses: 2, freeSlots: 4 });
    expect(decoder.violations).toEqual([]);
  });

  it('is not missed when it was to store one', async () => {
    let failures = 1;
    const { decoder, engine } = opened({ prefixSlots: 1, ...failing(([, to = 0]) => to === 4 && failures-- > 0) });
    const found = [];
    for (const salt of [1, 2, 3]) found.push(await collect(engine.stream(about(0, salt))));
    expect(found.map(takenOf)).toEqual([0, 0, TOKENS]);
    expect(decoder.violations).toEqual([]);
  });

  it('that is aborted meanwhile leaves the slot free and the others unhurt', async () => {
    const controller = new AbortController();
    const { decoder, engine } = opened({
      slots: 2,
      prefixSlots: 1,
      ...failing(([from = 0]) => from === 2 && (controller.abort(), false)),
    });
    await collect(engine.stream(about(0, 1)));
    const leaving = collect(engine.stream(about(0, 2), controller.signal));
    expect(await collect(engine.stream(about(1, 1)))).toEqual(await alone(about(1, 1)));
    expect(await leaving).toEqual([{ type: 'aborted' }]);
    await settle();
    expect(engine.stats()).toMatchObject({ waiting: 0, running: 0, freeSlots: 2 });
    expect(decoder.lengths).toEqual([0, 0]);
    expect(decoder.violations).toEqual([]);
  });
});

function stored(slots: PrefixSlots, key: string): number | undefined {
  const oldest = slots.hasFree ? undefined : slots.oldest();
  if (oldest !== undefined) slots.forget(oldest);
  const slot = slots.take();
  if (slot !== undefined) slots.put(key, slot);
  return slot;
}

describe('PrefixSlots', () => {
  it('gives free slots first, then that of the key used longest ago', () => {
    const slots = new PrefixSlots(4, 3);
    expect(['a', 'b', 'c'].map((key) => stored(slots, key))).toEqual([4, 5, 6]);
    expect(slots.use('a')).toBe(4);
    expect(stored(slots, 'd')).toBe(5);
    expect(['a', 'b', 'c', 'd'].map((key) => slots.has(key))).toEqual([true, false, true, true]);
    expect(slots.use('b')).toBeUndefined();
    expect(stored(slots, 'e')).toBe(6);
    expect(stored(slots, 'f')).toBe(4);
    expect([slots.oldest(), slots.oldest('d'), slots.oldest('x')]).toEqual(['d', 'e', 'd']);
  });

  it('has the slot of a forgotten key, and one given back, for others', () => {
    const slots = new PrefixSlots(0, 2);
    stored(slots, 'a');
    stored(slots, 'b');
    slots.forget('b');
    slots.forget('b');
    expect(slots.take()).toBe(1);
    expect(slots.has('a')).toBe(true);
    slots.giveBack(1);
    expect(stored(slots, 'c')).toBe(1);
    expect(slots.has('a')).toBe(true);
  });

  it('keeps nothing where there are no slots', () => {
    const slots = new PrefixSlots(4, 0);
    expect(slots.take()).toBeUndefined();
    expect(slots.has('a')).toBe(false);
  });
});
