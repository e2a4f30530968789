// A sampler on shortlists beside one on whole rows: where the first answers, both take the same token and go on with
// the same random state.
import { describe, expect, it } from 'vitest';
import { Random } from '../../../src/base/random.ts';
import { Sampler } from '../../../src/engine/sampler.ts';
import type { SamplingParams, SuppressedTokens } from '../../../src/engine/types.ts';
import type { Shortlist } from '../../../src/model/execution/thinker.ts';
import { shortlistOf } from '../../fixtures/shortlist-of.ts';
import { stressSize } from '../../fixtures/stress-size.ts';
import { FakeDecoder } from './fake-decoder.ts';
import { collect, endingOf, GREEDY, isTerminal, requestOf, settle, StreamingEngine, tokensOf } from './requests.ts';

const LENGTH = 64;
const ROWS = stressSize('rows sampled from shortlists', { short: 12_000, long: 1_000_000 });
/** Rows of one sequence: penalties and the random state reach from one to the next. */
const STEPS = 4;

type Draw = (below: number) => number;

function drawFrom(seed: number): Draw {
  const random = Random.fromSeed(seed);
  return (below) => Math.floor(random.nextUnit() * below);
}

function pick<Value>(draw: Draw, ...values: readonly [Value, ...Value[]]): Value {
  return values[draw(values.length)] ?? values[0];
}

const uniform = Random.fromSeed(4);
/** About normal: drawn once, since a row needs hundreds. A prime number of them, so that strides do not repeat. */
const NORMALS = Float32Array.from({ length: 16_381 }, () => {
  const sum = uniform.nextUnit() + uniform.nextUnit() + uniform.nextUnit() + uniform.nextUnit();
  return 1.73 * (sum - 2);
});

function normals(draw: Draw, count: number): Float32Array {
  const [start, stride] = [draw(NORMALS.length), 1 + draw(100)];
  return Float32Array.from({ length: count }, (_, at) => NORMALS[(start + at * stride) % NORMALS.length] ?? 0);
}

/** Logits of a sure model: a few tokens far above the others. */
function peaked(draw: Draw, vocabSize: number): Float32Array {
  const row = normals(draw, vocabSize).map((value) => value * 2);
  for (const high of normals(draw, 8)) row[draw(vocabSize)] = 12 + 10 * Math.abs(high);
  return row;
}

/** Anything that a model might give: sharp, flat, in steps, with zeros of both signs and impossible tokens. */
function anyRow(draw: Draw, vocabSize: number): Float32Array {
  const row = draw(3) === 0 ? peaked(draw, vocabSize) : new Float32Array(vocabSize);
  const [scale, step, shift] = [pick(draw, 0, 0.01, 1, 3, 10), pick(draw, 0, 0, 0.25, 2), pick(draw, 0, 0, -40, 30)];
  const noise = normals(draw, vocabSize);
  for (let id = 0; id < vocabSize; id++) {
    const value = (row[id] ?? 0) + scale * (noise[id] ?? 0);
    row[id] = (step === 0 ? value : step * Math.round(value / step)) + shift;
  }
  for (let odd = draw(4); odd > 0; odd--) row[draw(vocabSize)] = pick(draw, -Infinity, -0, 0, (row[0] ?? 0) + 5);
  return row;
}

function anySampling(draw: Draw): SamplingParams {
  return {
    temperature: pick(draw, 0, 0, 1e-3, 0.3, 0.7, 1, 2),
    topP: pick(draw, 1, 0.9, 0.9, 0.5, 0.99, 1e-6),
    topK: pick(draw, 0, 0, 0, 1, 5, 20, 63, 64, 100),
    minP: pick(draw, 0, 0, 0.05, 0.5, 1, 1e-8, 1e-14),
    repetitionPenalty: pick(draw, 1, 1.05, 1.05, 1.5, 0.9),
    presencePenalty: pick(draw, 0, 0, 0, 0.7, 2, -0.5),
    frequencyPenalty: pick(draw, 0, 0, 0, 0.3, -0.2),
    seed: draw(2 ** 31),
  };
}

/** What a device says, as wrong as float32 sums may be. */
function told(row: Float32Array, temperature: number, draw: Draw): Shortlist {
  const list = shortlistOf(row, LENGTH, temperature === 0 ? 1 : temperature);
  const error = (): number => (draw(2001) - 1000) * 1.5e-7;
  return { ...list, logSumExp: list.logSumExp + error(), scaledLogSumExp: list.scaledLogSumExp + error() };
}

interface Sequence {
  readonly sampling: SamplingParams;
  readonly promptIds: Int32Array;
  readonly suppress: SuppressedTokens | undefined;
  readonly top: number;
}

/** @returns how many rows were answered from their shortlists */
function sampleBoth(
  { sampling, promptIds, suppress, top }: Sequence,
  rows: readonly Float32Array[],
  draw: Draw,
): number {
  const [whole, short] = [0, 1].map(() => new Sampler(sampling, promptIds, 0, suppress)) as [Sampler, Sampler];
  let answered = 0;
  for (const row of rows) {
    const expected = whole.sample(row, top);
    const found = short.sampleShortlist(told(row, sampling.temperature, draw), top);
    const { id, ...rest } = found ?? short.sample(row, top);
    const said = (): string => JSON.stringify({ sampling, promptIds: [...promptIds], suppress, answered: found });
    if (id !== expected.id) expect.fail(`${id} instead of ${expected.id}: ${said()}`);
    const ids = rest.top.map((token) => token.id);
    if (ids.join() !== expected.top.map((token) => token.id).join()) expect.fail(`other top tokens: ${said()}`);
    const probabilities = [rest, ...rest.top].map(({ logprob }, index) => [
      logprob,
      (index === 0 ? expected : expected.top[index - 1])?.logprob ?? NaN,
    ]);
    for (const [logprob = NaN, other = NaN] of probabilities)
      if (!(Math.abs(logprob - other) < 5e-4) && logprob !== other) expect.fail(`${logprob} for ${other}: ${said()}`);
    if (found !== undefined) answered += 1;
  }
  return answered;
}

function sequenceOf(draw: Draw, vocabSize: number): Sequence {
  const ids = (count: number): number[] => Array.from({ length: count }, () => draw(vocabSize));
  return {
    sampling: anySampling(draw),
    promptIds: Int32Array.from(ids(pick(draw, 0, 3, 40, vocabSize))),
    suppress: pick(draw, undefined, { ids: ids(3), tokens: 2 }),
    top: pick(draw, 0, 0, 1, 5, 20),
  };
}

describe('Sampling from shortlists', () => {
  // A million rows take minutes.
  it('takes the token of the whole row, whatever the row and the parameters', { timeout: 1000 * 3600 }, () => {
    const draw = drawFrom(5);
    let answered = 0;
    for (let row = 0; row < ROWS; row += STEPS) {
      const vocabSize = pick(draw, 400, 400, 400, 65, 64, 40);
      const rows = Array.from({ length: STEPS }, () => anyRow(draw, vocabSize));
      answered += sampleBoth(sequenceOf(draw, vocabSize), rows, draw);
    }
    // Else the test would compare whole rows with themselves.
    expect(answered / ROWS).toBeGreaterThan(0.3);
  });

  it('takes it from a full vocabulary too', () => {
    const draw = drawFrom(6);
    for (let row = 0; row < 4; row++) {
      const rows = [row % 2 === 0 ? peaked(draw, 152_064) : anyRow(draw, 152_064)];
      sampleBoth(sequenceOf(draw, 152_064), rows, draw);
    }
  });

  const usual: readonly (readonly [string, Partial<SamplingParams>, number])[] = [
    ['greedy', {}, 0],
    ['greedy with a repetition penalty', { repetitionPenalty: 1.05 }, 0],
    ['greedy with top logprobs', { repetitionPenalty: 1.05 }, 5],
    ['temperature and top-p', { temperature: 0.7, topP: 0.9 }, 0],
    [
      'temperature, top-p and all penalties',
      { temperature: 1, topP: 0.8, repetitionPenalty: 1.1, presencePenalty: 1 },
      0,
    ],
    ['top-k', { temperature: 1, topK: 20 }, 0],
    ['min-p', { temperature: 0.7, minP: 0.05 }, 0],
  ];
  it.each(usual)('answers nearly every row of a sure model: %s', (_, sampling, top) => {
    const draw = drawFrom(7);
    const rows = Array.from({ length: 200 }, () => peaked(draw, 400));
    const promptIds = Int32Array.from({ length: 30 }, () => draw(400));
    const sequence = { sampling: { ...GREEDY, seed: 1, ...sampling }, promptIds, suppress: undefined, top };
    expect(sampleBoth(sequence, rows, draw)).toBeGreaterThanOrEqual(190);
  });

  it.each<[string, Partial<SamplingParams>, readonly number[]]>([
    ['a draw without limits', { temperature: 1 }, []],
    ['a penalty that raises scores', { repetitionPenalty: 0.9 }, [0]],
  ])('does not answer %s', (_, sampling, prompt) => {
    const list = shortlistOf(peaked(drawFrom(8), 400), LENGTH);
    expect(new Sampler({ ...GREEDY, ...sampling }, Int32Array.from(prompt), 0).sampleShortlist(list)).toBeUndefined();
  });

  it('does not answer where a token outside may be as good, until it cannot be', () => {
    const flat = new Float32Array(100).fill(2);
    const greedy = new Sampler(GREEDY, new Int32Array(0), 0);
    expect(greedy.sampleShortlist(shortlistOf(flat, LENGTH))).toBeUndefined();
    flat[70] = 2.5;
    expect(greedy.sampleShortlist(shortlistOf(flat, LENGTH))?.id).toBe(70);
    const penalised = new Sampler({ ...GREEDY, repetitionPenalty: 1.3 }, Int32Array.of(70), 0);
    expect(penalised.sampleShortlist(shortlistOf(flat, LENGTH))).toBeUndefined();
  });

  it.each<[string, Partial<SamplingParams>]>([
    ['are penalised', { repetitionPenalty: 1.5 }],
    ['min-p leaves out', { minP: 0.3 }],
  ])('does not count the mass of tokens outside that %s', (_, change) => {
    // 64 tokens of falling logits in the list, and a plateau outside that weighs twice as much as they do.
    const row = Float32Array.from({ length: 400 }, (_unused, id) => (id < LENGTH ? 10 - id / LENGTH : 8));
    const promptIds = Int32Array.from({ length: 336 }, (_unused, id) => id + LENGTH);
    const sampling = { ...GREEDY, temperature: 1, topP: 0.2, ...change };
    for (let seed = 0; seed < 50; seed++)
      sampleBoth({ sampling: { ...sampling, seed }, promptIds, suppress: undefined, top: 0 }, [row], drawFrom(seed));
  });

  it('calls logits that are not numbers an engine_error, as the whole row does', () => {
    const list = { ...shortlistOf(peaked(drawFrom(9), 100), LENGTH), logSumExp: NaN };
    expect(() => new Sampler(GREEDY, new Int32Array(0), 0).sampleShortlist(list)).toThrow('not numbers');
  });

  it('draws nothing and forgets nothing where it does not answer', () => {
    const draw = drawFrom(10);
    const rows = Array.from({ length: 40 }, (_, at) => (at % 2 === 0 ? peaked(draw, 400) : new Float32Array(400)));
    const sampling = { ...GREEDY, temperature: 1, topP: 0.9, seed: 3, repetitionPenalty: 1.2 };
    const sequence = { sampling, promptIds: new Int32Array(0), suppress: undefined, top: 0 };
    const answered = sampleBoth(sequence, rows, draw);
    expect(answered).toBeGreaterThan(15);
    expect(answered).toBeLessThanOrEqual(20);
  });
});

describe('The engine on shortlists', () => {
  const requests = [{}, { temperature: 1 }, { temperature: 0.7, topP: 0.6 }, { repetitionPenalty: 0.8 }].map(
    (sampling, salt) => requestOf({ salt, maxTokens: 20, topLogprobs: 3, sampling: { ...sampling, seed: 5 } }),
  );
  const tokens = async (decoder: FakeDecoder): Promise<number[][]> => {
    const engine = new StreamingEngine(decoder);
    const events = await Promise.all(requests.map((request) => collect(engine.stream(request))));
    expect(decoder.violations).toEqual([]);
    expect(events.map(endingOf)).toEqual(requests.map(() => 'end length'));
    return events.map(tokensOf);
  };

  it('writes what it writes with all logits, and fetches those only where the list does not tell', async () => {
    const [whole, short] = [new FakeDecoder(), new FakeDecoder({ shortlist: 12 })];
    expect(await tokens(short)).toEqual(await tokens(whole));
    const fetched = short.order.filter((run) => run === 'logits').length;
    // Every row of the second and the last request: a draw without limits, and a penalty that raises scores.
    expect(fetched).toBeGreaterThanOrEqual(40);
    expect(fetched).toBeLessThan(60);
    expect(whole.order).not.toContain('logits');
  });

  it('tells the decoder at which temperature the lists sum', async () => {
    const decoder = new FakeDecoder({ shortlist: 12 });
    await tokens(decoder);
    expect(decoder.chunks.map(({ temperature }) => temperature)).toEqual([1, 1, 0.7, 1]);
    expect(decoder.decoded[0]?.map(({ temperature }) => temperature)).toEqual([1, 1, 0.7, 1]);
  });

  it('ends a sequence that is aborted while its logits are fetched, once, and the others go on', async () => {
    const aborts = new AbortController();
    const decoder: FakeDecoder = new FakeDecoder({
      shortlist: 12,
      pause: async () => {
        if (decoder.order.filter((run) => run === 'logits').length === 5) aborts.abort();
        await settle(1);
      },
    });
    const engine = new StreamingEngine(decoder);
    const drawn = requestOf({ maxTokens: 20, sampling: { temperature: 1, seed: 1 } });
    const [first, second] = await Promise.all([
      collect(engine.stream(drawn, aborts.signal)),
      collect(engine.stream(requestOf({ salt: 1, maxTokens: 20 }))),
    ]);
    expect(first.filter(isTerminal)).toEqual([{ type: 'aborted' }]);
    expect(tokensOf(first)).toHaveLength(4);
    expect(tokensOf(second)).toHaveLength(20);
    expect(engine.stats()).toMatchObject({ running: 0, freeSlots: decoder.slots });
    expect(decoder.violations).toEqual([]);
  });

  it('ends only the sequence whose logits cannot be fetched', async () => {
    const decoder = new FakeDecoder({ shortlist: 12, fails: (run) => run === 'logits' });
    const engine = new StreamingEngine(decoder);
    const drawn = requestOf({ maxTokens: 20, sampling: { temperature: 1, seed: 1 } });
    const events = await Promise.all([drawn, requestOf({ maxTokens: 20 })].map((each) => collect(engine.stream(each))));
    expect(events.map(endingOf)).toEqual(['error engine_error', 'end length']);
    expect(decoder.violations).toEqual([]);
  });
});
