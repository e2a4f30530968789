import { describe, expect, it } from 'vitest';
import type { TokenBytes } from '../../../src/output/detokenizer.ts';
import { OutputProcessor, type OutputProcessorOptions } from '../../../src/output/output-processor.ts';

/** Token i is the i-th of these; the last is special. */
const PIECES = [
  'a ',
  'red ',
  'ball. ',
  Buffer.from('🎈').subarray(0, 2),
  Buffer.from('🎈').subarray(2),
  '<|end|>',
] as const;
const BYTES: TokenBytes = { bytesOf: (id) => Buffer.from(PIECES[id] ?? ''), isSpecial: (id) => id === 5 };

const PLAIN = { index: 0, stop: [], minTokens: 0, stopTokenIds: [], details: false, repetitionGuard: false };

function processor(options: Partial<OutputProcessorOptions> = {}): OutputProcessor {
  return new OutputProcessor(BYTES, { ...PLAIN, ...options });
}

function token(id: number, top: readonly number[] = []): Parameters<OutputProcessor['push']>[0] {
  return { type: 'token', id, logprob: -id, top: top.map((other) => ({ id: other, logprob: -other })) };
}

describe('OutputProcessor', () => {
  it('has a stop token among the ids but not in the text', () => {
    const stopping = processor({ stopTokenIds: [1] });
    expect([0, 1].map((id) => stopping.push(token(id)).text)).toEqual(['a ', '']);
    expect(stopping.finish('stop')).toMatchObject({ caption: 'a ', tokenIds: [0, 1] });
  });

  it('finds no stop string that ends in the first tokens, but one that ends behind them', () => {
    const early = processor({ stop: ['a ', 'red ba'], minTokens: 2 });
    expect([0, 1].map((id) => early.push(token(id)).text)).toEqual(['a ', '']); // "red " may begin a stop string
    expect(early.ending).toBeUndefined();
    expect(early.push(token(2)).text).toBe('');
    expect(early.ending).toBe('stop');
    expect(early.finish('stop').caption).toBe('a ');
    const held = processor({ stop: ['red ', 'a red x'], minTokens: 2 });
    const pieces = [0, 1, 2].map((id) => held.push(token(id)).text);
    expect([pieces.join(''), held.ending]).toEqual(['a red ball. ', undefined]);
  });

  it('grows by whole characters and counts every token', () => {
    const growing = processor({ index: 3 });
    expect([0, 3, 4, 5].map((id) => growing.push(token(id)).text)).toEqual(['a ', '', '🎈', '']);
    expect(growing.push(token(1))).toEqual({
      type: 'text-delta',
      index: 3,
      text: 'red ',
      tokenIds: [1],
      logprobs: [-1],
    });
    expect(growing.ending).toBeUndefined();
    expect(growing.flush()).toBeUndefined();
    expect(growing.finish('length')).toEqual({
      caption: 'a 🎈red ',
      finishReason: 'length',
      tokenIds: [0, 3, 4, 5, 1],
      logprobs: [-0, -3, -4, -5, -1],
    });
  });

  it('gives what was held back when no more comes', () => {
    const growing = processor({ stop: ['ball!'], details: true });
    expect(growing.push(token(2)).text).toBe('ball. ');
    growing.push(token(3));
    expect(growing.flush()).toEqual({
      type: 'text-delta',
      index: 0,
      text: '\uFFFD',
      tokenIds: [],
      logprobs: [],
      tokens: [],
    });
    expect(growing.finish('stop').caption).toBe('ball. \uFFFD');
  });

  it('ends at a stop string, which it leaves out', () => {
    const growing = processor({ stop: ['d b'] });
    for (const id of [0, 1]) growing.push(token(id));
    expect(growing.ending).toBeUndefined();
    growing.push(token(2));
    expect([growing.ending, growing.flush(), growing.finish('stop').caption]).toEqual(['stop', undefined, 'a re']);
  });

  it('tells bytes and alternatives of each token, also of halves of characters and of special ones', () => {
    const growing = processor({ details: true });
    const delta = growing.push(token(3, [3, 1]));
    expect(delta.tokens).toEqual([
      {
        id: 3,
        logprob: -3,
        bytes: [0xf0, 0x9f],
        top: [
          { id: 3, logprob: -3, bytes: [0xf0, 0x9f] },
          { id: 1, logprob: -1, bytes: [...Buffer.from('red ')] },
        ],
      },
    ]);
    growing.push(token(5));
    expect(growing.finish('stop').tokens).toEqual([
      ...delta.tokens!,
      { id: 5, logprob: -5, bytes: [...Buffer.from('<|end|>')], top: [] },
    ]);
  });

  it('ends a caption that repeats itself, when asked to, and keeps all its words', () => {
    const [guarded, free] = [processor({ repetitionGuard: true }), processor()];
    let tokens = 0;
    while (guarded.ending === undefined && tokens < 1000) {
      const id = tokens++ % 3;
      guarded.push(token(id));
      free.push(token(id));
    }
    expect(guarded.ending).toBe('repetition');
    expect(free.ending).toBeUndefined();
    const { caption } = guarded.finish('repetition');
    expect(caption).toBe(free.finish('length').caption);
    expect(caption.length).toBeGreaterThanOrEqual(120);
    expect(caption.length).toBeLessThan(140);
  });

  it('refuses an empty stop string', () => {
    expect(() => processor({ stop: [''] })).toThrow(expect.objectContaining({ code: 'bad_request', param: 'stop' }));
  });
});
