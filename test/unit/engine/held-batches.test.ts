import { describe, expect, it } from 'vitest';
import { Foreground } from '../../../src/base/foreground.ts';
import { FakeDecoder } from './fake-decoder.ts';
import { collect, endingOf, requestOf, settle, StreamingEngine, tokensOf } from './requests.ts';

describe('Engine, while somebody waits for a first token', () => {
  it('gives batch sequences no step, and goes on with them after it', async () => {
    const foreground = new Foreground();
    const decoder = new FakeDecoder({ slots: 2 });
    const engine = new StreamingEngine(decoder, { foreground });
    const expected = tokensOf(await collect(new StreamingEngine(new FakeDecoder()).stream(requestOf())));
    const leave = foreground.enter();
    const batch = collect(engine.stream(requestOf({ priority: 'batch' })));
    await settle();
    expect(decoder.order).toEqual([]);
    const leaver = new AbortController();
    const left = collect(engine.stream(requestOf({ priority: 'batch', salt: 1 }), leaver.signal));
    await settle();
    leaver.abort();
    expect(endingOf(await left)).toBe('aborted');
    expect(tokensOf(await collect(engine.stream(requestOf({ salt: 2 }))))).toHaveLength(8);
    expect(engine.stats().waiting).toBe(1);
    leave();
    expect(tokensOf(await batch)).toEqual(expected);
    expect(decoder.violations).toEqual([]);
  });

  it('starts an interactive sequence that comes in any moment while batch ones are held', async () => {
    for (let moment = 0; moment < 20; moment++) {
      const foreground = new Foreground();
      const engine = new StreamingEngine(new FakeDecoder({ slots: 2 }), { foreground });
      const leave = foreground.enter();
      const batch = collect(engine.stream(requestOf({ priority: 'batch' })));
      await settle(2);
      const another = collect(engine.stream(requestOf({ priority: 'batch', salt: 1 }))); // wakes the engine
      for (let turn = 0; turn < moment; turn++) await Promise.resolve();
      const quick = collect(engine.stream(requestOf({ salt: 2 })));
      await settle();
      expect(engine.stats(), `after ${moment} microtasks`).toMatchObject({ waiting: 2, generatedTokens: 8 });
      leave();
      expect((await Promise.all([batch, another, quick])).map(endingOf)).toEqual(Array(3).fill('end length'));
    }
  });

  it('does not wait for a held batch sequence that has the only slot', async () => {
    const foreground = new Foreground();
    const engine = new StreamingEngine(new FakeDecoder({ slots: 1 }), { foreground });
    const batch = collect(engine.stream(requestOf({ priority: 'batch', maxTokens: 100 })));
    await settle(1);
    const leave = foreground.enter();
    expect(tokensOf(await collect(engine.stream(requestOf({ salt: 1 }))))).toHaveLength(8);
    leave();
    expect(endingOf(await batch)).toBe('end length');
  });

  it('does not hold a batch sequence whose memory somebody waits for', async () => {
    const foreground = new Foreground();
    const decoder = new FakeDecoder({ slots: 6, capacity: 200, blockTokens: 50, blocks: 6 });
    const engine = new StreamingEngine(decoder, { foreground });
    const small = [1, 2, 3, 4].map((salt) => collect(engine.stream(requestOf({ salt, maxTokens: 2 }))));
    // It gets its turn while the fourth waits: so it does not give up its slot.
    const batch = collect(engine.stream(requestOf({ priority: 'batch', length: 100, maxTokens: 50 })));
    await Promise.all(small);
    const leave = foreground.enter();
    const large = collect(engine.stream(requestOf({ salt: 5, length: 180, maxTokens: 8 })));
    expect(endingOf(await large)).toBe('end length');
    expect(foreground.isHeld).toBe(true);
    leave();
    expect(endingOf(await batch)).toBe('end length');
    expect(engine.stats().preemptions).toBe(0);
    expect(decoder.violations).toEqual([]);
  });

  it('holds it again once the one who waited for memory has left', async () => {
    const foreground = new Foreground();
    const decoder = new FakeDecoder({ slots: 6, capacity: 200, blockTokens: 50, blocks: 6, pause: () => settle(1) });
    const engine = new StreamingEngine(decoder, { foreground });
    const others = [
      collect(engine.stream(requestOf({ salt: 1, length: 20, maxTokens: 130 }))),
      collect(engine.stream(requestOf({ salt: 2, length: 10, maxTokens: 140, priority: 'batch' }))),
    ];
    await settle(8);
    const leaver = new AbortController();
    const large = collect(engine.stream(requestOf({ salt: 3, length: 190, maxTokens: 5 }), leaver.signal));
    await settle(4);
    leaver.abort();
    await large;
    foreground.enter();
    await settle(4);
    const steps = decoder.decoded.length;
    await settle(10);
    expect(new Set(decoder.decoded.slice(steps).map(({ length }) => length))).toEqual(new Set([1]));
    await engine.close();
    expect((await Promise.all(others)).map(endingOf)).toEqual(Array(2).fill('error engine_unavailable'));
  });

  it('ends held sequences when it is closed', async () => {
    const foreground = new Foreground();
    const engine = new StreamingEngine(new FakeDecoder(), { foreground });
    foreground.enter();
    const batch = collect(engine.stream(requestOf({ priority: 'batch' })));
    await settle();
    await engine.close();
    expect(endingOf(await batch)).toBe('error engine_unavailable');
  });
});
