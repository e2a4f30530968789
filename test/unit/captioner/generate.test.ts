import { describe, expect, it, vi } from 'vitest';
import { Engine } from '../../../src/engine/engine.ts';
import type { SequenceRequest } from '../../../src/engine/types.ts';
import { captionRequest } from '../../../src/captioner/caption-options.ts';
import { asAvocadoError } from '../../../src/base/errors.ts';
import { generate, type GenerateInput, type GenerateModel } from '../../../src/captioner/generate.ts';
import type { CaptionEnd, CaptionEvent } from '../../../src/output/events.ts';
import { Stopwatch } from '../../../src/output/timings.ts';
import { FakeDecoder, type FakeDecoderOptions } from '../engine/fake-decoder.ts';

const TOKENS = { visionStart: 33, visionEnd: 34, video: 30, audio: 31, image: 32, audioEnd: 35 };
const PROMPT_LENGTH = 100;

/** A tokenizer of single letters. */
const TOKENIZER = { bytesOf: (id: number) => Buffer.from(String.fromCharCode(97 + (id % 26))), isSpecial: () => false };

interface Setup {
  readonly model: GenerateModel;
  readonly decoder: FakeDecoder;
  readonly engine: Engine;
  /** what the engine was asked for */
  readonly submitted: SequenceRequest[];
}

function setUp(options: FakeDecoderOptions = {}): Setup {
  const decoder = new FakeDecoder(options);
  const engine = new Engine(decoder, { prefillChunk: 32 });
  const submitted: SequenceRequest[] = [];
  const submit: Engine['submit'] = (request, onEvent, signal) => {
    submitted.push(request);
    return engine.submit(request, onEvent, signal);
  };
  const model = {
    engine: { submit },
    tokenizer: TOKENIZER,
    config: { tokens: TOKENS },
    stopIds: [],
  } as unknown as GenerateModel;
  return { model, decoder, engine, submitted };
}

/** A prompt of 80 tokens up to its media's end and 20 behind it. */
function inputOf(options: Readonly<Record<string, unknown>>, mediaKey?: string): GenerateInput {
  const ids = Int32Array.from({ length: PROMPT_LENGTH }, (_, index) => index % 29);
  ids.fill(TOKENS.video, 70, 79)[79] = TOKENS.visionEnd;
  const counts = { text: 91, video: 9, audio: 0, image: 0, total: PROMPT_LENGTH };
  const request = captionRequest('a.mp4', options);
  const { repetitionPenalty = 1, ...sampling } = request.sampling;
  return {
    request,
    plan: { maxTokens: 12, profileLabel: 'test@1', sampling: { ...sampling, repetitionPenalty }, output: 'text' },
    prompt: {
      ids,
      positions: Int32Array.from({ length: 3 * PROMPT_LENGTH }, (_, index) => index % PROMPT_LENGTH),
      ropeDelta: 0,
      counts,
    },
    embeds: Float32Array.from({ length: 18 }, (_, index) => index),
    mediaKey,
    media: {
      kind: 'video',
      durationSeconds: 4,
      audio: { present: false, used: false, seconds: 0, tokens: 0 },
      warnings: [],
    },
  } as unknown as GenerateInput;
}

async function run(setup: Setup, input: GenerateInput, signal = new AbortController().signal): Promise<CaptionEvent[]> {
  const events: CaptionEvent[] = [];
  await generate(input, setup.model, new Stopwatch(), signal, (event) => events.push(event));
  return events;
}

function endOf(events: readonly CaptionEvent[]): CaptionEnd {
  const last = events.at(-1);
  if (last?.type !== 'caption-end') throw new Error(`The last event is ${last?.type ?? 'none'}.`);
  return last;
}

const SAMPLED = { temperature: 1, seed: 5 };

describe('one sample', () => {
  it('is prefill, text as it grows, and an end that repeats it', async () => {
    const setup = setUp();
    const events = await run(setup, inputOf({}));
    const end = endOf(events);
    const deltas = events.filter((event) => event.type === 'text-delta');
    expect(end).toMatchObject({
      finishReason: 'length',
      others: [],
      usage: { promptTokens: 100, completionTokens: 12, totalTokens: 112, cachedTokens: 0 },
    });
    expect(deltas.map(({ text }) => text).join('')).toBe(end.caption);
    expect(deltas.flatMap(({ tokenIds }) => tokenIds)).toEqual(end.tokenIds);
    expect(deltas.every((delta) => delta.index === 0 && delta.tokens === undefined)).toBe(true);
    expect(events[0]).toEqual({ type: 'stage', stage: 'prefill', done: 0, total: 100 });
    expect(end.timings.firstTokenSeconds).toBeGreaterThan(0);
    expect(Object.keys(end.timings.stages)).toEqual(['prefill', 'generate']);
    expect(setup.submitted[0]).toMatchObject({ prefix: undefined, topLogprobs: 0, priority: 'interactive' });
  });

  it('tells tokens and alternatives when asked, as many as asked', async () => {
    const events = await run(setUp(), inputOf({ logprobs: 3, max_tokens: 12 }));
    const end = endOf(events);
    expect(end.tokens).toHaveLength(12);
    for (const [index, token] of end.tokens!.entries()) {
      expect(token).toMatchObject({
        id: end.tokenIds[index],
        logprob: end.logprobs[index],
        bytes: [...TOKENIZER.bytesOf(end.tokenIds[index]!)],
      });
      expect(token.top).toHaveLength(3);
      // greedy: the best is the chosen one
      expect(token.top[0]).toEqual({ id: token.id, logprob: token.logprob, bytes: token.bytes });
    }
    expect(events.flatMap((event) => (event.type === 'text-delta' ? event.tokens : []))).toEqual(end.tokens);
    expect(endOf(await run(setUp(), inputOf({ logprobs: 0 }))).tokens).toHaveLength(12);
  });

  it('ends at a stop string at once, and its slot is free', async () => {
    const setup = setUp();
    const { caption } = endOf(await run(setup, inputOf({})));
    const stop = caption.slice(3, 5);
    const end = endOf(await run(setup, inputOf({ stop: [stop] })));
    expect(end).toMatchObject({ finishReason: 'stop', caption: caption.slice(0, caption.indexOf(stop)) });
    expect(end.tokenIds.length).toBeLessThan(12);
    await vi.waitFor(() => {
      expect(setup.engine.stats().freeSlots).toBe(4);
    });
  });
});

describe('a model that writes in a form of its own', () => {
  it('has deltas that add up to the caption, with all tokens, and tells what the form tells', async () => {
    const written = '[{"timestamp": "00:00-00:03", "caption": "A."}, {"timestamp": "9:00-9:01", "caption": "B."}]';
    const setup = setUp();
    const tokenizer = {
      bytesOf: (id: number) => Buffer.from(written.charAt(id % written.length)),
      isSpecial: () => false,
    };
    const submit: Engine['submit'] = (_, onEvent) => {
      for (const id of Array.from(written).keys()) onEvent({ type: 'token', id, logprob: -1, top: [] });
      onEvent({ type: 'end', reason: 'stop' });
      return () => undefined;
    };
    const model = { ...setup.model, tokenizer, engine: { submit } } as unknown as GenerateModel;
    const input = inputOf({});
    const events: CaptionEvent[] = [];
    const plan = { ...input.plan, output: 'timed-scenes' as const };
    await generate({ ...input, plan }, model, new Stopwatch(), new AbortController().signal, (event) =>
      events.push(event),
    );
    const end = endOf(events);
    const deltas = events.filter((event) => event.type === 'text-delta');
    expect(end.caption).toBe('[00:00:00.000 – 00:00:03.000]\nA.\n\nB.');
    expect(deltas.map(({ text }) => text).join('')).toBe(end.caption);
    expect(deltas.flatMap(({ tokenIds }) => tokenIds)).toHaveLength(written.length);
    expect(end.segments).toMatchObject([{ start: 0, end: 3, caption: 'A.', timedBy: 'model' }]);
    expect(end.media.warnings).toEqual([expect.stringContaining('"9:00-9:01"') as string]);
  });
});

describe('several samples', () => {
  it('are as many captions, each from its own seed, and the first one is that of a single request', async () => {
    const several = endOf(await run(setUp(), inputOf({ ...SAMPLED, n: 3 })));
    expect(several.others).toHaveLength(2);
    const single = await Promise.all(
      [5, 6, 7].map(async (seed) => endOf(await run(setUp(), inputOf({ ...SAMPLED, seed }, 'clip'))).tokenIds),
    );
    expect([several, ...several.others].map(({ tokenIds }) => tokenIds)).toEqual(single);
    expect(new Set(single.map(String)).size).toBe(3);
    expect(several.usage).toMatchObject({ promptTokens: 100, completionTokens: 36, totalTokens: 136 });
  });

  it('are equal when greedy', async () => {
    const end = endOf(await run(setUp(), inputOf({ n: 2 })));
    expect(end.others[0]).toEqual({
      caption: end.caption,
      finishReason: end.finishReason,
      tokenIds: end.tokenIds,
      logprobs: end.logprobs,
    });
  });

  it('read the prompt once for all, though nothing is kept of it', async () => {
    const setup = setUp();
    const events = await run(setup, inputOf({ ...SAMPLED, n: 4 }));
    expect(setup.engine.stats().promptTokens).toBe(80 + 4 * 20);
    expect(new Set(setup.submitted.map(({ prefix }) => prefix?.key)).size).toBe(1);
    const prefill = events.flatMap((event) => (event.type === 'stage' ? [event.done] : []));
    expect(prefill).toEqual([...new Set(prefill)].sort((a, b) => a - b)); // told of the first alone
    await run(setup, inputOf({ ...SAMPLED, n: 2 }));
    expect(setup.submitted[4]!.prefix!.key).not.toBe(setup.submitted[0]!.prefix!.key);
  });

  it('tell whose words come, and grow at the same time', async () => {
    const events = await run(setUp(), inputOf({ ...SAMPLED, n: 3 }));
    const end = endOf(events);
    const texts = new Map<number, string>();
    const order: number[] = [];
    for (const event of events) {
      if (event.type !== 'text-delta') continue;
      texts.set(event.index, (texts.get(event.index) ?? '') + event.text);
      order.push(event.index);
    }
    expect([0, 1, 2].map((index) => texts.get(index))).toEqual([end, ...end.others].map(({ caption }) => caption));
    expect(order.indexOf(2)).toBeLessThan(order.lastIndexOf(0));
  });

  it('end one by one: a stop string of one leaves the others alone', async () => {
    const free = endOf(await run(setUp(), inputOf({ ...SAMPLED, n: 3 })));
    const captions = [free, ...free.others].map(({ caption }) => caption);
    const stop = captions[1]!.slice(2, 5);
    const end = endOf(await run(setUp(), inputOf({ ...SAMPLED, n: 3, stop: [stop] })));
    const expected = captions.map((caption) =>
      caption.includes(stop) ? caption.slice(0, caption.indexOf(stop)) : caption,
    );
    expect([end, ...end.others].map(({ caption }) => caption)).toEqual(expected);
    expect(end.others[0]!.finishReason).toBe('stop');
    expect(end.finishReason).toBe('length');
  });

  it('stay seeds where the seed is the largest there is', async () => {
    const setup = setUp();
    await run(setup, inputOf({ temperature: 1, seed: Number.MAX_SAFE_INTEGER, n: 3 }));
    expect(setup.submitted.map(({ sampling }) => sampling.seed)).toEqual([Number.MAX_SAFE_INTEGER, 0, 1]);
  });

  it('all end with the error of one of them, and every slot is free', async () => {
    let runs = 0;
    const setup = setUp({ fails: (kind) => kind === 'decode' && ++runs === 5 });
    const failure = await run(setup, inputOf({ ...SAMPLED, n: 3 })).catch((thrown: unknown) => asAvocadoError(thrown));
    expect(failure).toMatchObject({ code: 'engine_error' });
    await vi.waitFor(() => {
      expect(setup.engine.stats()).toMatchObject({ running: 0, waiting: 0, freeSlots: 4 });
    });
    expect(setup.decoder.violations).toEqual([]);
  });

  it('all end when the signal fires, also those without a slot', async () => {
    const setup = setUp({ slots: 2 });
    const controller = new AbortController();
    const onEvent = (event: CaptionEvent): void => {
      if (event.type === 'text-delta') controller.abort();
    };
    const generating = generate(
      inputOf({ ...SAMPLED, n: 8 }),
      setup.model,
      new Stopwatch(),
      controller.signal,
      onEvent,
    );
    await expect(generating).rejects.toMatchObject({ name: 'AbortError' });
    await vi.waitFor(() => {
      expect(setup.engine.stats()).toMatchObject({ running: 0, waiting: 0, freeSlots: 2 });
    });
    expect(setup.decoder.violations).toEqual([]);
  });
});

describe('the beginning of a prompt', () => {
  it('is taken over from an earlier request about the same clip, which the usage tells; the words stay the same', async () => {
    const setup = setUp({ prefixSlots: 1 });
    const first = endOf(await run(setup, inputOf({}, 'clip')));
    const events = await run(setup, inputOf({}, 'clip'));
    const second = endOf(events);
    expect([first.usage.cachedTokens, second.usage.cachedTokens]).toEqual([0, 80]);
    expect(events[0]).toEqual({ type: 'stage', stage: 'prefill', done: 80, total: 100 });
    expect(second.tokenIds).toEqual(first.tokenIds);
    expect(endOf(await run(setup, inputOf({}, 'another'))).usage.cachedTokens).toBe(0);
  });
});
