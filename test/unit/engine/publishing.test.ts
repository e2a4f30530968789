// When tokens are told: beside the next run while nothing else is to do, at once where somebody waits for what comes
// after.
import { describe, expect, it } from 'vitest';
import type { SequenceEvent, SequenceRequest } from '../../../src/engine/types.ts';
import { FakeDecoder, type FakeDecoderOptions } from './fake-decoder.ts';
import { collect, endingOf, requestOf, settle, StreamingEngine, tokensOf } from './requests.ts';

/** Counts the tokens told before each decode step starts, and before it ends. */
class CountingDecoder extends FakeDecoder {
  told = 0;
  readonly before: number[] = [];
  readonly during: number[] = [];

  constructor(options: FakeDecoderOptions = {}) {
    super({ pause: () => settle(1), ...options });
  }

  override async decode(...call: Parameters<FakeDecoder['decode']>): ReturnType<FakeDecoder['decode']> {
    this.before.push(this.told);
    const scores = await super.decode(...call);
    this.during.push(this.told);
    return scores;
  }

  readonly listen = (event: SequenceEvent): void => {
    if (event.type === 'token') this.told++;
  };
}

function run(decoder: CountingDecoder, engine: StreamingEngine, request: SequenceRequest): Promise<SequenceEvent[]> {
  return new Promise((resolve) => {
    const events: SequenceEvent[] = [];
    engine.submit(request, (event) => {
      decoder.listen(event);
      events.push(event);
      if (event.type === 'end') resolve(events);
    });
  });
}

describe('Engine, telling tokens', () => {
  it('tells those of a step while the next one runs, and the last with the ending', async () => {
    const decoder = new CountingDecoder();
    const engine = new StreamingEngine(decoder);
    const request = requestOf({ maxTokens: 5 });
    const events = await run(decoder, engine, request);
    expect(decoder.before).toEqual([1, 1, 2, 3]); // the first one was told when the prompt was read
    expect(decoder.during).toEqual([1, 2, 3, 4]);
    expect(tokensOf(events)).toEqual(tokensOf(await collect(new StreamingEngine(new FakeDecoder()).stream(request))));
  });

  it('tells them at once while another sequence waits for a slot', async () => {
    const decoder = new CountingDecoder({ slots: 1 });
    const engine = new StreamingEngine(decoder);
    const first = run(decoder, engine, requestOf({ maxTokens: 4 }));
    const second = collect(engine.stream(requestOf({ salt: 1, maxTokens: 1 })));
    await Promise.all([first, second]);
    expect(decoder.before).toEqual([1, 2, 3]);
  });

  it('tells a token that was sampled before the sequence is aborted', async () => {
    const decoder = new CountingDecoder();
    const engine = new StreamingEngine(decoder);
    const seen: string[] = [];
    const ended = new Promise<void>((resolve) => {
      const abort = engine.submit(requestOf({ maxTokens: 50 }), ({ type }) => {
        seen.push(type);
        if (type === 'aborted') resolve();
      });
      const decode = decoder.decode.bind(decoder);
      decoder.decode = (...call) => {
        if (decoder.decoded.length === 2) abort(); // its third token is sampled and not told
        return decode(...call);
      };
    });
    await ended;
    await settle();
    expect(seen.filter((type) => type !== 'prefill')).toEqual(['token', 'token', 'token', 'aborted']);
    expect(engine.stats()).toMatchObject({ running: 0, freeSlots: 4 });
    expect(decoder.violations).toEqual([]);
  });

  it('tells nothing more to a listener that aborts at a token, and runs at most one step for it', async () => {
    const decoder = new CountingDecoder();
    const engine = new StreamingEngine(decoder);
    const seen: string[] = [];
    const abort = engine.submit(requestOf({ maxTokens: 50 }), ({ type }) => {
      seen.push(type);
      if (seen.filter((each) => each === 'token').length === 3) abort();
    });
    await settle();
    expect(seen.filter((type) => type !== 'prefill')).toEqual(['token', 'token', 'token', 'aborted']);
    expect(decoder.decoded).toHaveLength(3);
    expect(engine.stats()).toMatchObject({ running: 0, freeSlots: 4, generatedTokens: 3 });
  });

  it('ends only the sequence whose listener throws', async () => {
    const engine = new StreamingEngine(new FakeDecoder());
    const endings: string[] = [];
    engine.submit(requestOf({ maxTokens: 20 }), ({ type }) => {
      if (type === 'token') throw new Error('the listener failed');
      endings.push(type);
    });
    expect(endingOf(await collect(engine.stream(requestOf({ salt: 1, maxTokens: 20 }))))).toBe('end length');
    expect(endings.filter((type) => type !== 'prefill')).toEqual(['error']);
    expect(engine.stats()).toMatchObject({ running: 0, waiting: 0 });
  });
});
