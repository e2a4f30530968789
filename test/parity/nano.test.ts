// The bundled model on its own sample clips, from the file on, against transformers with the same
// weights (recipe/make_golden.py).
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { captionRequest } from '../../src/captioner/caption-options.ts';
import { captionEvents, type Captioner } from '../../src/captioner/captioner.ts';
import { createCaptioner, loadModel, openPlanningModel } from '../../src/captioner/open-captioner.ts';
import { loadNative } from '../../src/base/native.ts';
import type { Thinker } from '../../src/model/execution/thinker.ts';
import type { CaptionEnd } from '../../src/output/events.ts';
import type { EngineSettings } from '../../src/settings/engine-settings.ts';
import { EXAMPLES, examplePath } from '../fixtures/examples.ts';
import { nanoSettings } from '../fixtures/nano.ts';
import { stressSize } from '../fixtures/stress-size.ts';
import { TensorFile } from '../fixtures/tensor-file.ts';
import { maxDistance } from './model-cases.ts';

interface Reference {
  readonly prompt: readonly number[];
  readonly tokens: readonly number[];
  readonly caption: string;
  /** between the best and the next logit, of all steps */
  readonly smallest_margin: number;
}

interface Told {
  readonly prompt: readonly number[];
  /** [steps][vocab] */
  readonly logits: readonly Float32Array[];
  readonly end: CaptionEnd;
}

const FIXTURES = new URL('../fixtures/nano/', import.meta.url);
const CLIPS = readdirSync(FIXTURES)
  .filter((name) => name.endsWith('.json'))
  .map((name) => name.slice(0, -'.json'.length));
const UNCOMPARED = Object.keys(EXAMPLES)
  .map((name) => name.slice(0, -'.mp4'.length))
  .filter((clip) => !CLIPS.includes(clip));
const OTHERS = UNCOMPARED.slice(0, stressSize('further clips on both runtimes', { short: 2, long: UNCOMPARED.length }));
const LOGITS_TOLERANCE = 5e-4;
/** Enough for every clip. The portable runtime copies the whole KV cache in every step. */
const CONTEXT = 2048;

/** Notes every prompt token and every logit on its way between engine and decoder. */
function listen({ decoder }: Thinker): { readonly prompt: number[]; readonly logits: Float32Array[] } {
  const heard: { prompt: number[]; logits: Float32Array[] } = { prompt: [], logits: [] };
  const [prefill, decode] = [decoder.prefill.bind(decoder), decoder.decode.bind(decoder)];
  decoder.prefill = async (chunk, options) => {
    heard.prompt.push(...chunk.ids);
    const scores = await prefill(chunk, options);
    if (scores !== undefined) heard.logits.push((await decoder.logits(0)).slice());
    return scores;
  };
  decoder.decode = async (rows, options) => {
    const scores = await decode(rows, options);
    for (const row of rows.keys()) heard.logits.push((await decoder.logits(row)).slice());
    return scores;
  };
  return heard;
}

interface Heard {
  readonly captioner: Captioner;
  readonly heard: ReturnType<typeof listen>;
}

async function open(settings: EngineSettings): Promise<Heard> {
  const files = await openPlanningModel(settings);
  const loaded = await loadModel(settings, files);
  const heard = listen(loaded.thinker);
  return { captioner: createCaptioner(settings, files, loaded), heard };
}

async function tell({ captioner, heard }: Heard, clip: string): Promise<Told> {
  heard.prompt.length = 0;
  heard.logits.length = 0;
  for await (const event of captionEvents(captioner, captionRequest(examplePath(`${clip}.mp4`), {}))) {
    if (event.type === 'caption-end') return { prompt: [...heard.prompt], logits: [...heard.logits], end: event };
  }
  throw new Error(`${clip} was not captioned.`);
}

it('the clips that are compared are of several kinds', () => {
  expect(CLIPS).toEqual(expect.arrayContaining(['portrait-5s', 'no-sound-6s', 'long-10s']));
});

describe.each(['native', 'node'] as const)('On the %s runtime', (runtime) => {
  const missing = runtime === 'native' && loadNative() === undefined;

  describe.skipIf(missing)(`avocado-nano${missing ? ' (skipped: the native addon is not built here)' : ''}`, () => {
    let model: Heard;

    beforeAll(async () => {
      model = await open(nanoSettings({ runtime, slots: 1, context: CONTEXT, precision: 'fp32' }));
    });
    afterAll(async () => {
      await model.captioner.close();
    });

    it.each(CLIPS)('gives the reference’s tokens and logits for %s', async (clip) => {
      const reference = JSON.parse(readFileSync(new URL(`${clip}.json`, FIXTURES), 'utf8')) as Reference;
      // else two correct programs may choose differently
      expect(reference.smallest_margin).toBeGreaterThan(2 * LOGITS_TOLERANCE);
      const told = await tell(model, clip);
      expect(told.prompt).toEqual(reference.prompt);
      expect(told.end).toMatchObject({ tokenIds: reference.tokens, caption: reference.caption, finishReason: 'stop' });
      const file = new TensorFile(new URL(`${clip}.safetensors`, FIXTURES).pathname);
      const [steps = 0] = file.shape('logits');
      expect(steps).toBeGreaterThanOrEqual(4);
      for (let step = 0; step < steps; step += 1)
        expect(maxDistance(told.logits[step]!, file.rows('logits', step, step + 1))).toBeLessThan(LOGITS_TOLERANCE);
      file.close();
    });
  });
});

describe.skipIf(loadNative() === undefined)(
  `Both runtimes${loadNative() === undefined ? ' (skipped: the native addon is not built here)' : ''}`,
  () => {
    it('caption the other sample clips with the same words', async () => {
      const models = await Promise.all(
        (['native', 'node'] as const).map((runtime) => open(nanoSettings({ runtime, slots: 1, context: CONTEXT }))),
      );
      for (const clip of OTHERS) {
        const [first, second] = await Promise.all(models.map((model) => tell(model, clip)));
        expect(second!.end.tokenIds).toEqual(first!.end.tokenIds);
        expect(
          Math.max(...first!.logits.map((logits, step) => maxDistance(logits, second!.logits[step]!))),
        ).toBeLessThan(2 * LOGITS_TOLERANCE);
      }
      await Promise.all(models.map(({ captioner }) => captioner.close()));
    });
  },
);
