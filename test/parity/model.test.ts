// The three graphs against the reference's numbers. Tolerances: exactness.md, Tolerances. Clips of which the golden
// data holds only a part of the sound are covered from the file on, by the tests of inspect.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toFloat32 } from '../../src/base/floats.ts';
import { loadNative } from '../../src/base/native.ts';
import { golden } from '../fixtures/golden.ts';
import {
  caseIds,
  maxDistance,
  melOf,
  modelCase,
  pixelsOf,
  rowsDistance,
  storedEmbeds,
  type ModelCase,
} from './model-cases.ts';
import {
  best,
  decodeLogits,
  fill,
  logProbability,
  openModelUnderTest,
  promptOf,
  type OpenedModel,
  type Prompt,
} from './opened-model.ts';

const EMBEDS_TOLERANCE = 1e-4;
const LOGITS_TOLERANCE = 5e-4;
/** Where the two best scores are nearer than this, two correct programs may choose differently. */
const SMALLEST_MARGIN = 2e-3;

const NONE = new Float32Array(0);

/** The tower's output, else what golden stores whole; undefined when neither is to be had. */
async function visionOf(source: ModelCase, model: OpenedModel): Promise<Float32Array | undefined> {
  if (source.tensors['vision_embeds'] === undefined) return NONE;
  const pixels = pixelsOf(source);
  return pixels === undefined
    ? storedEmbeds(source, 'vision_embeds')
    : toFloat32(await model.towers.encodeVision(pixels.patches, ...pixels.grid), 'float32');
}

async function audioOf(source: ModelCase, model: OpenedModel): Promise<Float32Array | undefined> {
  if (source.tensors['audio_embeds'] === undefined) return NONE;
  const sound = melOf(source);
  return sound === undefined
    ? storedEmbeds(source, 'audio_embeds')
    : toFloat32(await model.towers.encodeAudio(sound.mel, sound.frames), 'float32');
}

/** Greedy decoding under a repetition penalty, compared step by step with what the reference chose. */
async function expectGreedy(
  { decoder }: OpenedModel,
  slot: number,
  prompt: Prompt,
  { facts, tensors }: ModelCase,
  kind: 'greedy' | 'greedy_rp1.1',
): Promise<number> {
  const penalty = kind === 'greedy' ? 1 : 1.1;
  const tokens = tensors[`${kind}.tokens`]!.data;
  const seen = new Set(prompt.ids);
  let logits = await fill(decoder, slot, prompt);
  for (let step = 0; step < tokens.length; step += 1) {
    const scores = Float32Array.from(logits);
    for (const id of seen) scores[id] = scores[id]! > 0 ? scores[id]! / penalty : scores[id]! * penalty;
    const token = best(scores);
    if (token !== Number(tokens[step])) {
      expect(
        tensors[`${kind}.margin`]!.data[step],
        `step ${step} chose ${token}, the reference ${tokens[step]}`,
      ).toBeLessThan(SMALLEST_MARGIN);
      return step;
    }
    expect(Math.abs(logProbability(logits, token) - Number(tensors[`${kind}.logprob`]!.data[step]))).toBeLessThan(
      LOGITS_TOLERANCE,
    );
    seen.add(token);
    if (step + 1 < tokens.length)
      logits = await decodeLogits(decoder, [{ slot, token, position: facts.first_decode_position + step }]);
  }
  return tokens.length;
}

describe.each(['native', 'node'] as const)('On the %s runtime', (runtimeName) => {
  const missing = runtimeName === 'native' && loadNative() === undefined;

  describe.skipIf(missing).each(['tiny-a', 'tiny-b'])(
    missing ? '%s (skipped: the native addon is not built here)' : '%s',
    (checkpoint) => {
      const cases = caseIds(checkpoint);
      let model: OpenedModel;

      beforeAll(async () => {
        model = await openModelUnderTest(golden(`checkpoints/${checkpoint}`), runtimeName, 3, 4200);
      });
      afterAll(async () => {
        await model.close();
      });

      it.each(cases.filter((id) => pixelsOf(modelCase(id)) !== undefined))(
        'the vision tower agrees with the reference on %s',
        async (id) => {
          const source = modelCase(id);
          expect(
            rowsDistance(source, 'vision_embeds', (await visionOf(source, model))!, model.config.text.hiddenSize),
          ).toBeLessThan(EMBEDS_TOLERANCE);
        },
      );

      it.each(cases.filter((id) => melOf(modelCase(id)) !== undefined))(
        'the audio tower agrees with the reference on %s',
        async (id) => {
          const source = modelCase(id);
          expect(
            rowsDistance(source, 'audio_embeds', (await audioOf(source, model))!, model.config.text.hiddenSize),
          ).toBeLessThan(EMBEDS_TOLERANCE);
        },
      );

      it('the decoder agrees with the reference on logits and greedy tokens of every case with whole inputs', async () => {
        const compared: Record<string, number[]> = {};
        for (const id of cases) {
          const source = modelCase(id);
          const [vision, audio] = [await visionOf(source, model), await audioOf(source, model)];
          if (vision === undefined || audio === undefined) continue;
          const prompt = promptOf(source, model.config, vision, audio);
          expect(
            maxDistance(await fill(model.decoder, 1, prompt), source.tensors['logits_last']!.data as Float32Array),
            id,
          ).toBeLessThan(LOGITS_TOLERANCE);
          compared[id] = [
            await expectGreedy(model, 1, prompt, source, 'greedy'),
            await expectGreedy(model, 1, prompt, source, 'greedy_rp1.1'),
          ];
        }
        // Both kinds of clip and nearly every token: a filter gone wrong must not pass for agreement.
        expect(Object.keys(compared).length).toBeGreaterThanOrEqual(checkpoint === 'tiny-a' ? 14 : 5);
        expect(Math.min(...Object.values(compared).flat())).toBeGreaterThanOrEqual(12);
      });
    },
  );
});
