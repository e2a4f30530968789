// A copied start is the start itself: whoever takes it over gives the same tokens with the same
// log-probabilities, to the last bit.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { SequenceEvent, SequenceRequest } from '../../src/engine/types.ts';
import { nativeStatus } from '../../src/base/native.ts';
import { golden } from '../fixtures/golden.ts';
import { GREEDY, StreamingEngine, collect } from '../unit/engine/requests.ts';
import { modelCase, storedEmbeds } from './model-cases.ts';
import { feed, fill, openModelUnderTest, promptOf, type OpenedModel, type Prompt } from './opened-model.ts';

const CASES = ['tiny-a.av-4s.mid', 'tiny-a.mute-3s.small'] as const;
const CHUNK = 48;
/** tokens at the end of a prompt that are about the words, not about the clip */
const OWN_TOKENS = 12;
const STEPS = 24;

const native = nativeStatus();
if (!native.loaded) console.warn(`Skipped: prefix reuse on the native runtime. ${native.reason}`);

interface Clip {
  readonly name: string;
  readonly prompt: Prompt;
  readonly ropeDelta: number;
}

/** Another question about the same clip for another `question`; `key` names what may be shared. */
function ask(clip: Clip, question: number, key = clip.name): SequenceRequest {
  const { prompt } = clip;
  const tokens = prompt.ids.length - OWN_TOKENS;
  const hidden = prompt.mediaEmbeds[0]?.length ?? 0;
  const mediaEmbeds = new Float32Array(prompt.mediaEmbeds.length * hidden);
  prompt.mediaEmbeds.forEach((row, index) => {
    mediaEmbeds.set(row, index * hidden);
  });
  const ids = prompt.ids.map((id, row) => (row >= tokens ? (id + question) % 200 : id));
  const media = { mediaRows: Int32Array.from(prompt.mediaRows), mediaEmbeds };
  const rest = {
    sampling: GREEDY,
    stopIds: [],
    maxTokens: STEPS,
    priority: 'interactive',
    topLogprobs: 3,
    suppress: undefined,
  } as const;
  return { ids, positions: prompt.positions, ropeDelta: clip.ropeDelta, ...media, ...rest, prefix: { key, tokens } };
}

interface Answer {
  readonly taken: number;
  readonly tokens: readonly SequenceEvent[];
}

async function answer(events: AsyncIterable<SequenceEvent>): Promise<Answer> {
  const seen = await collect(events);
  const first = seen[0];
  return { taken: first?.type === 'prefill' ? first.done : -1, tokens: seen.filter(({ type }) => type === 'token') };
}

function idOf(event: SequenceEvent): number {
  return event.type === 'token' ? event.id : -1;
}

function logprobOf(event: SequenceEvent | undefined): number {
  return event?.type === 'token' ? event.logprob : NaN;
}

async function untilToken(events: AsyncIterator<SequenceEvent, undefined>): Promise<void> {
  for (let event = (await events.next()).value; event?.type !== 'token'; event = (await events.next()).value)
    expect(event?.type).toBe('prefill');
}

describe.each(['native', 'node'] as const)('A prompt whose start was read before, on the %s runtime', (runtime) => {
  describe.skipIf(runtime === 'native' && !native.loaded)('of a tiny checkpoint', () => {
    let model: OpenedModel;
    let clips: Clip[];
    const engineWithout = (): StreamingEngine =>
      new StreamingEngine({ ...bound(model), prefixSlots: 0 }, { prefillChunk: CHUNK });
    const engineWith = (): StreamingEngine => new StreamingEngine(bound(model), { prefillChunk: CHUNK });
    const plain = async (request: SequenceRequest): Promise<Answer> => {
      const engine = engineWithout();
      const found = await answer(engine.stream(request));
      await engine.close(); // one decoder, so one engine at a time
      return found;
    };
    const clip = (index: number): Clip => clips[index] ?? clips[0]!;

    beforeAll(async () => {
      model = await openModelUnderTest(golden('checkpoints/tiny-a'), runtime, 4, 500, 2);
      clips = CASES.map((name) => {
        const source = modelCase(name);
        const audio =
          source.tensors['audio_embeds'] === undefined ? new Float32Array(0) : storedEmbeds(source, 'audio_embeds')!;
        const prompt = promptOf(source, model.config, storedEmbeds(source, 'vision_embeds')!, audio);
        return { name, prompt, ropeDelta: source.facts.first_decode_position - prompt.ids.length };
      });
    });
    afterEach(async () => {
      for (let slot = 0; slot < model.decoder.slots + model.decoder.prefixSlots; slot++) await model.decoder.free(slot);
    });
    afterAll(async () => {
      await model.close();
    });

    it('answers alike from a prefix slot', async () => {
      const engine = engineWith();
      const found = [await answer(engine.stream(ask(clip(0), 0))), await answer(engine.stream(ask(clip(0), 1)))];
      await engine.close();
      expect(found.map(({ taken }) => taken)).toEqual([0, clip(0).prompt.ids.length - OWN_TOKENS]);
      expect(found[0]?.tokens).toHaveLength(STEPS);
      expect(found[0]?.tokens).not.toEqual(found[1]?.tokens);
      expect(found.map(({ tokens }) => tokens)).toEqual([
        (await plain(ask(clip(0), 0))).tokens,
        (await plain(ask(clip(0), 1))).tokens,
      ]);
    });

    it('answers alike from a sequence that is running', async () => {
      const second = async (key: string): Promise<Answer> => {
        const engine = engineWithout();
        const first = engine.stream({ ...ask(clip(0), 0), maxTokens: 100 });
        await untilToken(first);
        const found = await answer(engine.stream(ask(clip(0), 1, key)));
        await engine.close(); // a run of the first may be under way
        return found;
      };
      const [shared, apart] = [await second(clip(0).name), await second('another key')];
      expect([shared.taken > 0, apart.taken]).toEqual([true, 0]);
      expect(shared.tokens).toEqual(apart.tokens);
    });

    it('answers alike n times at once', async () => {
      const engine = engineWithout();
      const found = await Promise.all([0, 1, 2].map((question) => answer(engine.stream(ask(clip(0), question)))));
      await engine.close();
      expect(found.filter(({ taken }) => taken > 0)).toHaveLength(2);
      for (const [question, { tokens }] of found.entries()) {
        const expected = (await plain(ask(clip(0), question))).tokens;
        expect(tokens[0]).toEqual(expected[0]);
        expect(tokens.map(idOf)).toEqual(expected.map(idOf));
        // In company a decode step has another shape, which may round otherwise.
        tokens.forEach((token, step) => {
          expect(logprobOf(token)).toBeCloseTo(logprobOf(expected[step]), 4);
        });
      }
    });

    it('is not taken for another clip', async () => {
      const engine = engineWith();
      const found: Answer[] = [];
      for (const which of [0, 1, 0, 1]) found.push(await answer(engine.stream(ask(clip(which), 0))));
      await engine.close();
      for (const [index, { tokens }] of found.entries())
        expect(tokens).toEqual((await plain(ask(clip(index % 2), 0))).tokens);
      expect(engine.stats()).toMatchObject({ prefixHits: 2, prefixMisses: 2 });
    });

    it('lies in its slot as if it had been fed there, and its source is left as it was', async () => {
      const { decoder } = model;
      const { prompt } = clip(0);
      const [start, end] = [prompt.ids.length - OWN_TOKENS, prompt.ids.length];
      const expected = await fill(decoder, 2, prompt, start);
      await decoder.free(0);
      await feed(decoder, 0, prompt, 0, start);
      await fill(decoder, 1, clip(1).prompt); // what was there is overwritten
      await decoder.copyPrefix(0, 5, start);
      await decoder.copyPrefix(5, 1, start);
      for (const slot of [1, 0])
        expect((await feed(decoder, slot, prompt, start, end, true))?.slice()).toEqual(expected);
    });

    it('calls it a bug to copy what is not there, to run in a prefix slot, or to copy beside a run', async () => {
      const { decoder } = model;
      await fill(decoder, 0, clip(0).prompt);
      await decoder.free(3);
      for (const [from, to, tokens] of [
        [0, 0, 5],
        [0, 6, 5],
        [3, 1, 1],
        [0, 1, clip(0).prompt.ids.length + 1],
        [0, 1, 0],
      ] as const) {
        await expect(decoder.copyPrefix(from, to, tokens)).rejects.toThrow('This is a bug.');
      }
      await decoder.copyPrefix(0, 4, 5);
      await expect(decoder.decode([{ slot: 4, token: 1, position: 5 }])).rejects.toThrow('has no room');
      await expect(feed(decoder, 4, clip(0).prompt, 5, 9)).rejects.toThrow('This is a bug.');
      const run = decoder.decode([{ slot: 0, token: 1, position: 300 }]);
      await expect(decoder.copyPrefix(0, 1, 5)).rejects.toThrow('one call at a time');
      await run;
    });
  });
});

/** The decoder's own methods, so that an engine without prefix slots can run on the same one. */
function bound({ decoder }: OpenedModel): ConstructorParameters<typeof StreamingEngine>[0] {
  const { slots, prefixSlots, capacity, blockTokens, blocks, vocabSize, hiddenSize } = decoder;
  return {
    ...{ slots, prefixSlots, capacity, blockTokens, blocks, vocabSize, hiddenSize },
    prefill: (chunk, options) => decoder.prefill(chunk, options),
    decode: (rows, options) => decoder.decode(rows, options),
    logits: (row) => decoder.logits(row),
    copyPrefix: (from, to, tokens) => decoder.copyPrefix(from, to, tokens),
    allocate: (slot, tokens) => decoder.allocate(slot, tokens),
    free: (slot) => decoder.free(slot),
  };
}
