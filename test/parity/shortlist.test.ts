// Shortlists as graphs compute them, beside all logits of the same rows: the same graph on a CPU in fp32, where the
// product gives all logits. On CUDA, test/gpu/check/parity.ts does the same.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Random } from '../../src/base/random.ts';
import type { Scores } from '../../src/model/execution/thinker.ts';
import { GraphBuilder } from '../../src/model/graphs/graph-builder.ts';
import { addShortlist, SHORTLIST_NAMES, shortlistLength } from '../../src/model/graphs/shortlist.ts';
import { openRuntime } from '../../src/model/runtime/open-runtime.ts';
import type { Runtime } from '../../src/model/runtime/runtime.ts';
import { golden } from '../fixtures/golden.ts';
import { floats, hostTensor } from '../fixtures/tiny-graphs.ts';
import { shortlistProblem, TEMPERATURE } from '../gpu/check/parity.ts';
import { collect, endingOf, GREEDY, StreamingEngine } from '../unit/engine/requests.ts';
import { maxDistance, modelCase, storedEmbeds } from './model-cases.ts';
import { decodeLogits, fill, openModelUnderTest, promptOf, type OpenedModel, type Prompt } from './opened-model.ts';

const CPU = { type: 'cpu' } as const;

describe('The end of the decoder graph', () => {
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = await openRuntime({ runtime: undefined, device: CPU });
  });
  afterAll(async () => {
    await runtime.close();
  });

  const rowOf: Readonly<Record<string, (random: Random) => number>> = {
    'any logits': (random) => 20 * random.nextUnit() - 5,
    'logits in steps': (random) => Math.round(8 * random.nextUnit()) - 40,
    'equal logits': () => 3,
  };
  const kinds = Object.entries(rowOf);
  it.each([
    [152_064, 54],
    [151_936, 64],
    [2000, 8],
    [1536, 6],
    [400, 1],
    [211, 1],
    [64, 1],
    [40, 1],
  ])('finds the best of a vocabulary of %i in %i parts', async (vocabSize, parts) => {
    const none = () => undefined as never;
    const graph = new GraphBuilder('shortlist', { plain: none, quantised: none }, 'fp32');
    graph.input('logits', 'float32', ['logit_rows', vocabSize]);
    addShortlist(graph, vocabSize);
    const options = { device: CPU, threads: 1, spinning: false, disablePrepacking: false };
    const { bytes, model } = graph.build();
    expect(model.initializers.find(({ name }) => name === 'part_starts')?.dims).toEqual([parts, 1]);
    const session = await runtime.createSession(bytes, options);
    const random = Random.fromSeed(vocabSize);
    const rows = kinds.map(([, draw]) => Float32Array.from({ length: vocabSize }, () => draw(random)));
    const [count, length] = [rows.length, shortlistLength(vocabSize)];
    const logits = floats([count, vocabSize], [...rows.flatMap((row) => [...row])]);
    const [values, sums, scaled] = [floats([count, length]), floats([count, 1]), floats([count, 1])];
    const ids = hostTensor('int32', [count, length], new Int32Array(count * length));
    const names = SHORTLIST_NAMES;
    await session.run(
      { logits, [names.inverseTemperature]: floats([count, 1], new Array<number>(count).fill(1 / TEMPERATURE)) },
      { [names.values]: values, [names.ids]: ids, [names.logSumExp]: sums, [names.scaledLogSumExp]: scaled },
    );
    const found = rows.map((row, at) => {
      const [from, to] = [at * length, (at + 1) * length];
      const list: Scores = {
        kind: 'shortlist',
        ids: (ids.data as Int32Array).subarray(from, to),
        values: (values.data as Float32Array).subarray(from, to),
        logSumExp: (sums.data as Float32Array)[at] ?? NaN,
        scaledLogSumExp: (scaled.data as Float32Array)[at] ?? NaN,
      };
      return [kinds[at]?.[0], shortlistProblem(list, row)];
    });
    expect(found).toEqual(kinds.map(([kind]) => [kind, undefined]));
    await session.release();
  });
});

describe('shortlistProblem', () => {
  const logits = Float32Array.of(5, 1, 3, 3);
  const list = { kind: 'shortlist', ids: Int32Array.of(0, 3), values: Float32Array.of(5, 3) } as const;
  const sums = { logSumExp: 5.24, scaledLogSumExp: 7.26 };
  it.each<[string, Partial<Scores>]>([
    ['other values', { values: Float32Array.of(5, 1) }],
    ['ids of other logits', { ids: Int32Array.of(0, 1) }],
    ['an id twice', { ids: Int32Array.of(2, 2), values: Float32Array.of(3, 3) }],
    ['a sum that is wrong', {}],
  ])('sees %s', (what, change) => {
    const row = what === 'an id twice' ? Float32Array.of(2, 1, 3, 3) : logits;
    expect(shortlistProblem({ ...list, ...sums, ...change } as Scores, row)).toContain(what);
  });
});

describe('A decoder with shortlists', () => {
  const SLOTS = 3;
  let plain: OpenedModel;
  let short: OpenedModel;
  let prompts: Prompt[];
  let positions: number[];
  beforeAll(async () => {
    const directory = golden('checkpoints/tiny-a');
    plain = await openModelUnderTest(directory, undefined, SLOTS, 500);
    short = await openModelUnderTest(directory, undefined, SLOTS, 500, 0, { shortlist: true });
    const sources = ['two-frames.small', 'mute-3s.small'].map((name) => modelCase(`tiny-a.${name}`));
    prompts = sources.map((source) => {
      const audio = source.tensors['audio_embeds'] === undefined ? undefined : storedEmbeds(source, 'audio_embeds');
      return promptOf(source, plain.config, storedEmbeds(source, 'vision_embeds')!, audio ?? new Float32Array(0));
    });
    positions = sources.map((source) => source.facts.first_decode_position);
  });
  afterAll(async () => {
    await plain.close();
    await short.close();
  });

  it('has the logits of one without, and shortlists that are true of them, for prompts and steps', async () => {
    const batch = prompts.map((_, at) => ({
      slot: 2 * at,
      token: 7 + at,
      position: positions[at]!,
      temperature: TEMPERATURE,
    }));
    for (const [at, prompt] of prompts.entries()) {
      const [expected, found] = [
        await fill(plain.decoder, 2 * at, prompt),
        await fill(short.decoder, 2 * at, prompt, 37),
      ];
      expect(maxDistance(found, expected)).toBeLessThan(5e-5);
    }
    const expected = await decodeLogits(plain.decoder, batch);
    const lists = await short.decoder.decode(batch);
    for (const [row, list] of lists.entries()) {
      expect(list.kind).toBe('shortlist');
      const logits = (await short.decoder.logits(row)).slice();
      const { vocabSize } = short.decoder;
      expect(maxDistance(logits, expected.subarray(row * vocabSize, (row + 1) * vocabSize))).toBeLessThan(5e-5);
      expect(shortlistProblem(list, logits)).toBeUndefined();
    }
  });

  it('writes the tokens of one without, whatever the sampling', async () => {
    const samplings = [
      { repetitionPenalty: 1.05 },
      { temperature: 0.7, topP: 0.9 },
      { temperature: 1, topK: 20, presencePenalty: 0.5 },
      { temperature: 1 },
      { repetitionPenalty: 0.9 },
    ];
    const [prompt, start] = [prompts[0]!, positions[0]!];
    const { hiddenSize } = plain.decoder;
    const mediaEmbeds = new Float32Array(prompt.mediaEmbeds.length * hiddenSize);
    prompt.mediaEmbeds.forEach((row, at) => {
      mediaEmbeds.set(row, at * hiddenSize);
    });
    const written = async ({ decoder }: OpenedModel) => {
      for (let slot = 0; slot < SLOTS; slot++) await decoder.free(slot);
      const engine = new StreamingEngine(decoder, { prefillChunk: 64 });
      return Promise.all(
        samplings.map(async (sampling) => {
          const { ids, positions: at } = prompt;
          const media = { mediaRows: Int32Array.from(prompt.mediaRows), mediaEmbeds };
          const rest = { stopIds: [], maxTokens: 24, priority: 'interactive', topLogprobs: 2 } as const;
          const request = { ids, positions: at, ropeDelta: start - ids.length, ...media, ...rest };
          const whole = { ...request, sampling: { ...GREEDY, seed: 4, ...sampling }, prefix: undefined };
          const events = await collect(engine.stream({ ...whole, suppress: { ids: [0, 1], tokens: 3 } }));
          expect(endingOf(events)).toBe('end length');
          return events.flatMap((event) =>
            event.type === 'token' ? [event.id, ...event.top.map(({ id }) => id)] : [],
          );
        }),
      );
    };
    expect(await written(short)).toEqual(await written(plain));
  });
});
