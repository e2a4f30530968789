// What the KV cache promises: chunks, neighbours and cancelled runs change nothing. Exact arithmetic differs with the
// shape of a run, so "the same" is within float32 rounding, far below what one wrong cache row does.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { golden } from '../fixtures/golden.ts';
import { maxDistance, modelCase, storedEmbeds } from './model-cases.ts';
import {
  best,
  decodeLogits,
  feed,
  fill,
  openModelUnderTest,
  promptOf,
  type OpenedModel,
  type Prompt,
} from './opened-model.ts';

const SAME = 5e-5;
const CASES = ['tiny-a.av-4s.mid', 'tiny-a.two-frames.small', 'tiny-a.mute-3s.small'] as const;

describe('A cache of four slots', () => {
  let model: OpenedModel;
  let prompts: Prompt[];
  let positions: number[];

  beforeAll(async () => {
    model = await openModelUnderTest(golden('checkpoints/tiny-a'), undefined, 4, 500);
    const none = new Float32Array(0);
    const sources = CASES.map((id) => modelCase(id));
    prompts = sources.map((source) => {
      const audio = source.tensors['audio_embeds'] === undefined ? none : storedEmbeds(source, 'audio_embeds')!;
      return promptOf(source, model.config, storedEmbeds(source, 'vision_embeds')!, audio);
    });
    positions = sources.map((source) => source.facts.first_decode_position);
  });
  afterAll(async () => {
    await model.close();
  });

  /** Logits of `steps` greedy steps of a prompt, alone in its slot. */
  async function alone(which: number, slot: number, steps: number): Promise<Float32Array[]> {
    const rows = [await fill(model.decoder, slot, prompts[which]!)];
    while (rows.length <= steps) {
      rows.push(
        (
          await decodeLogits(model.decoder, [
            { slot, token: best(rows.at(-1)!), position: positions[which]! + rows.length - 1 },
          ])
        ).slice(),
      );
    }
    return rows;
  }

  function expectSame(found: readonly Float32Array[], expected: readonly Float32Array[]): void {
    expect(found.length).toBe(expected.length);
    found.forEach((row, step) => {
      expect(maxDistance(row, expected[step]!), `step ${step}`).toBeLessThan(SAME);
    });
  }

  it.each([1, 37, 128])(
    'gives the same logits for a prompt fed in chunks of %d tokens as for one fed whole',
    async (chunk) => {
      const prompt = prompts[1]!;
      expect(
        maxDistance(await fill(model.decoder, 2, prompt, chunk), await fill(model.decoder, 0, prompt)),
      ).toBeLessThan(SAME);
    },
  );

  it('tells prompts apart', async () => {
    const [first, second] = [await fill(model.decoder, 0, prompts[0]!), await fill(model.decoder, 1, prompts[1]!)];
    expect(maxDistance(first, second)).toBeGreaterThan(0.1);
  });

  it('decodes three sequences in one step as each alone, rows in the order asked for, an empty slot between them', async () => {
    const expected = [await alone(0, 0, 6), await alone(1, 0, 6), await alone(2, 0, 6)];
    const slots = [3, 0, 2];
    await model.decoder.free(1);
    const found: Float32Array[][] = [];
    for (const [which, slot] of slots.entries()) found.push([await fill(model.decoder, slot, prompts[which]!)]);
    for (let step = 0; step < 6; step += 1) {
      const rows = slots.map((slot, which) => ({
        slot,
        token: best(found[which]!.at(-1)!),
        position: positions[which]! + step,
      }));
      const logits = await decodeLogits(model.decoder, rows);
      found.forEach((sequence, which) =>
        sequence.push(logits.slice(which * model.decoder.vocabSize, (which + 1) * model.decoder.vocabSize)),
      );
    }
    found.forEach((sequence, which) => {
      expectSame(sequence, expected[which]!);
    });
  });

  it('keeps a half-fed prompt and a waiting sequence whole while their neighbours decode', async () => {
    const expected = [await alone(0, 0, 3), await alone(1, 0, 3), await alone(2, 0, 3)];
    const waiting = await fill(model.decoder, 1, prompts[1]!);
    await model.decoder.free(2);
    await feed(model.decoder, 2, prompts[2]!, 0, 50);
    const outer = [await fill(model.decoder, 0, prompts[0]!), await fill(model.decoder, 3, prompts[0]!)];
    for (let step = 0; step < 3; step += 1) {
      const logits = await decodeLogits(
        model.decoder,
        [0, 3].map((slot, row) => ({ slot, token: best(outer[row]!), position: positions[0]! + step })),
      );
      [0, 1].forEach(
        (row) => (outer[row] = logits.slice(row * model.decoder.vocabSize, (row + 1) * model.decoder.vocabSize)),
      );
    }
    expectSame(outer, [expected[0]![3]!, expected[0]![3]!]);
    const rest = await feed(model.decoder, 2, prompts[2]!, 50, prompts[2]!.ids.length, true);
    expectSame([rest!.slice(), waiting], [expected[2]![0]!, expected[1]![0]!]);
    expectSame(
      [await decodeLogits(model.decoder, [{ slot: 1, token: best(waiting), position: positions[1]! }])],
      [expected[1]![1]!],
    );
  });

  it('fills a slot to its last token, refuses one more, and spares it and its neighbour while others decode', async () => {
    const long = await fill(model.decoder, 1, prompts[0]!);
    let token = best(long);
    const room = model.decoder.capacity - prompts[0]!.ids.length;
    for (let step = 0; step < room; step += 1)
      token = best(await decodeLogits(model.decoder, [{ slot: 1, token, position: positions[0]! + step }]));
    await expect(model.decoder.decode([{ slot: 1, token, position: 999 }])).rejects.toThrow('has no room');
    const expected = await alone(2, 0, 4);
    const found = [[await fill(model.decoder, 0, prompts[2]!)], [await fill(model.decoder, 2, prompts[2]!)]];
    for (let step = 0; step < 4; step += 1) {
      const rows = [0, 2].map((slot, row) => ({
        slot,
        token: best(found[row]!.at(-1)!),
        position: positions[2]! + step,
      }));
      const logits = await decodeLogits(model.decoder, rows);
      found.forEach((sequence, row) =>
        sequence.push(logits.slice(row * model.decoder.vocabSize, (row + 1) * model.decoder.vocabSize)),
      );
    }
    found.forEach((sequence) => {
      expectSame(sequence, expected);
    });
  });

  it('stands as before a run that was cancelled', async () => {
    const expected = await alone(1, 0, 2);
    const first = await fill(model.decoder, 0, prompts[1]!);
    const row = { slot: 0, token: best(first), position: positions[1]! };
    await expect(model.decoder.decode([row], { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'aborted',
    });
    expectSame([await decodeLogits(model.decoder, [row])], [expected[1]!]);
  });

  it('calls two runs at once, a gap and too many tokens bugs of the caller', async () => {
    await fill(model.decoder, 0, prompts[1]!);
    await expect(feed(model.decoder, 0, prompts[1]!, 5, 10)).rejects.toThrow('This is a bug.');
    const row = { slot: 0, token: 1, position: 400 };
    const running = model.decoder.decode([row]);
    await expect(model.decoder.decode([row])).rejects.toThrow('one call at a time');
    await running;
    await model.decoder.free(3);
    const ids = new Int32Array(501);
    const noMedia = { mediaRows: new Int32Array(0), mediaEmbeds: new Float32Array(0) };
    const chunk = { slot: 3, start: 0, ids, positions: new Int32Array(3 * 501), ...noMedia, wantLogits: false };
    await expect(model.decoder.prefill(chunk)).rejects.toThrow('cannot go to 0');
  });
});
