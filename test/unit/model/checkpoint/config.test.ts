import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readModelConfig, readPreprocessorConfig, readStopIds } from '../../../../src/model/checkpoint/config.ts';
import { golden } from '../../../fixtures/golden.ts';

type Json = Record<string, unknown>;
let scratch: string;
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'avocado-config-'));
});
afterAll(() => {
  rmSync(scratch, { recursive: true, force: true });
});

const original = (): Json => JSON.parse(readFileSync(golden('checkpoints/tiny-a/config.json'), 'utf8')) as Json;

/** The directory of tiny-a's config.json with one field of the thinker set; a value of undefined removes it. */
function changed(path: string, value: unknown): string {
  const config = original();
  const keys = path.split('.');
  let object = config['thinker_config'] as Json;
  for (const key of keys.slice(0, -1)) object = object[key] as Json;
  object[keys.at(-1)!] = value;
  return written(config);
}

function written(config: unknown, name = 'config.json'): string {
  const directory = mkdtempSync(join(scratch, 'config-'));
  writeFileSync(join(directory, name), typeof config === 'string' ? config : JSON.stringify(config));
  return directory;
}

describe('config.json', () => {
  it.each([
    ['text_config.num_hidden_layers', 'num_hidden_layers'],
    ['text_config.max_position_embeddings', 'max_position_embeddings'],
    ['text_config.vocab_size', 'vocab_size'],
    ['text_config.intermediate_size', 'intermediate_size'],
    ['vision_config.depth', 'depth'],
    ['audio_config.encoder_layers', 'encoder_layers'],
  ])('is refused where %s is so large that building the graphs would not end', async (path, name) => {
    const message = expect.stringMatching(`${name} must be an integer between 1 and`) as string;
    await expect(readModelConfig(changed(path, 2 ** 31 - 1))).rejects.toMatchObject({
      code: 'checkpoint_invalid',
      message,
    });
  });

  it.each([
    ['gptq', 'GPTQ'],
    ['awq', 'AWQ'],
    ['bitsandbytes', 'bitsandbytes'],
    ['fp8', 'FP8'],
    ['quanto', 'quanto'],
  ])('of weights quantised by %s says so, and what to take instead', async (method, name) => {
    for (const place of ['quantization_config', 'text_config.quantization_config'])
      await expect(readModelConfig(changed(place, { quant_method: method, bits: 4 }))).rejects.toMatchObject({
        code: 'checkpoint_invalid',
        message: expect.stringMatching(`quantised \\(${name}\\).*--precision int4`) as string,
      });
  });

  it('is read into our field names', async () => {
    const config = await readModelConfig(golden('checkpoints/tiny-a'));
    expect(config.text).toEqual({
      hiddenSize: 112,
      intermediateSize: 208,
      layers: 3,
      heads: 7,
      kvHeads: 1,
      headDim: 16,
      vocabSize: 2000,
      maxPositions: 32_768,
      rmsNormEps: 1e-6,
      ropeTheta: 300,
      mropeSection: [2, 3, 3],
    });
    expect(config.vision).toMatchObject({
      depth: 4,
      heads: 4,
      headDim: 16,
      fullAttentionBlocks: [1, 3],
      windowSize: 112,
    });
    expect(config.audio).toMatchObject({ layers: 2, heads: 4, headDim: 16, ffnSize: 136, chunkFrames: 200 });
    expect(config.tokens).toMatchObject({ audio: 1963, video: 1973, eos: 1962, pad: 1960 });
  });

  it('of the thinker alone, or written by newer transformers versions, is read the same', async () => {
    const expected = await readModelConfig(golden('checkpoints/tiny-a'));
    const thinker = structuredClone(original()['thinker_config']) as Json;
    const text = thinker['text_config'] as Json;
    text['rope_parameters'] = { ...(text['rope_scaling'] as Json), rope_theta: text['rope_theta'] };
    text['layer_types'] = ['full_attention', 'full_attention', 'full_attention'];
    delete text['rope_scaling'];
    delete text['rope_theta'];
    (thinker['vision_config'] as Json)['rope_parameters'] = { rope_theta: 10_000, rope_type: 'axial' };
    for (const kind of ['audio', 'image', 'video']) {
      thinker[`${kind}_token_id`] = thinker[`${kind}_token_index`];
      thinker[`${kind}_token_index`] = undefined;
    }
    const found = await readModelConfig(written(thinker));
    expect({ ...found, directory: expected.directory }).toEqual(expected);
  });

  it.each<[string, unknown]>([
    ['text_config.hidden_size', undefined],
    ['text_config.hidden_size', '112'],
    ['text_config.num_hidden_layers', 0],
    ['text_config.num_attention_heads', 9],
    ['text_config.num_key_value_heads', 2],
    ['text_config.vocab_size', 12.5],
    ['text_config.rms_norm_eps', -1],
    ['text_config.hidden_act', 'gelu'],
    ['text_config.rope_scaling', undefined],
    ['text_config.rope_scaling.rope_type', 'yarn'],
    ['text_config.rope_scaling.type', 'dynamic'],
    ['text_config.rope_scaling.mrope_section', [2, 3, 4]],
    ['text_config.rope_scaling.mrope_section', [4, 4]],
    ['text_config.rope_scaling.mrope_interleaved', true],
    ['vision_config.hidden_act', 'gelu'],
    ['vision_config.num_heads', 7],
    ['vision_config.window_size', 20],
    ['vision_config.fullatt_block_indexes', 'all'],
    ['vision_config.out_hidden_size', 64],
    ['vision_config.patch_size', 16],
    ['vision_config.temporal_patch_size', 4],
    ['vision_config.spatial_merge_size', 1],
    ['vision_config.in_channels', 1],
    ['audio_config.num_mel_bins', 80],
    ['audio_config.activation_function', 'relu'],
    ['audio_config.output_dim', 64],
    ['audio_config.scale_embedding', true],
    ['audio_config.encoder_attention_heads', 5],
    ['audio_config', undefined],
    ['audio_token_index', 2000],
    ['eos_token_id', -1],
    ['seconds_per_chunk', 0],
  ])('with %s = %j is refused by name', async (path, value) => {
    const name = path.split('.').at(-1)!;
    // The two fields contradict each other; the error may name either one.
    const named = name === 'num_attention_heads' ? /num_key_value_heads|hidden_size/ : new RegExp(name);
    await expect(readModelConfig(changed(path, value))).rejects.toMatchObject({
      code: 'checkpoint_invalid',
      message: expect.stringMatching(named) as string,
    });
  });

  it('with a sliding window is refused where layers would use it, and read where none would', async () => {
    const config = original();
    const text = (config['thinker_config'] as { text_config: Json }).text_config;
    text['use_sliding_window'] = true;
    await expect(readModelConfig(written(config))).resolves.toBeDefined();
    text['max_window_layers'] = 2;
    await expect(readModelConfig(written(config))).rejects.toMatchObject({
      code: 'checkpoint_invalid',
      param: 'thinker_config.text_config.use_sliding_window',
    });
  });

  it('of another model is refused with what is supported', async () => {
    await expect(readModelConfig(written({ model_type: 'qwen2_5_vl' }))).rejects.toThrow(
      /model_type is "qwen2_5_vl"; supported: Qwen2\.5-Omni/,
    );
  });

  it('that is missing, not JSON or not an object gets an error of its own', async () => {
    await expect(readModelConfig(join(scratch, 'nowhere'))).rejects.toMatchObject({ code: 'checkpoint_not_found' });
    await expect(readModelConfig(mkdtempSync(join(scratch, 'empty-')))).rejects.toMatchObject({
      code: 'checkpoint_not_found',
    });
    await expect(readModelConfig(written('{"model_type":'))).rejects.toThrow('is not valid JSON');
    await expect(readModelConfig(written('[]'))).rejects.toThrow('must be a JSON object');
  });
});

describe('preprocessor_config.json', () => {
  const published = {
    imageMean: [0.48145466, 0.4578275, 0.40821073],
    imageStd: [0.26862954, 0.26130258, 0.27577711],
    minPixels: 3136,
    maxPixels: 12_845_056,
  };

  it('gives the published values, also where it is absent', async () => {
    expect(await readPreprocessorConfig(golden('checkpoints/tiny-a'))).toEqual(published);
    expect(await readPreprocessorConfig(scratch)).toEqual(published);
  });

  it('may have other values, with limits in the old or the new form', async () => {
    const old = written({ image_mean: [0, 0.5, 1], min_pixels: 784, max_pixels: 7840 }, 'preprocessor_config.json');
    expect(await readPreprocessorConfig(old)).toMatchObject({
      imageMean: [0, 0.5, 1],
      minPixels: 784,
      maxPixels: 7840,
    });
    const size = written({ size: { shortest_edge: 784, longest_edge: 7840 } }, 'preprocessor_config.json');
    expect(await readPreprocessorConfig(size)).toMatchObject({ minPixels: 784, maxPixels: 7840 });
  });

  it('with wrong values is refused by name', async () => {
    await expect(
      readPreprocessorConfig(written({ image_std: [0.2, 0, 0.2] }, 'preprocessor_config.json')),
    ).rejects.toThrow('image_std must be positive');
    await expect(readPreprocessorConfig(written({ image_mean: [0.5] }, 'preprocessor_config.json'))).rejects.toThrow(
      'image_mean must hold three numbers',
    );
  });

  it.each<[string, unknown]>([
    ['patch_size', 16],
    ['temporal_patch_size', 1],
    ['merge_size', 4],
    ['do_resize', false],
    ['resample', 2],
    ['do_rescale', false],
    ['rescale_factor', 1 / 256],
    ['do_normalize', false],
    ['feature_size', 80],
    ['sampling_rate', 24_000],
    ['n_fft', 512],
    ['hop_length', 320],
    ['chunk_length', 30],
    ['padding_value', 1],
    ['dither', 0.001],
  ])('with %s = %j, which the pre-processing does not do, is refused by name', async (field, value) => {
    const directory = written({ [field]: value }, 'preprocessor_config.json');
    await expect(readPreprocessorConfig(directory)).rejects.toMatchObject({
      code: 'checkpoint_invalid',
      param: field,
      message: expect.stringMatching(
        new RegExp(`preprocessor_config\\.json: ${field} is ${JSON.stringify(value)}; supported: `),
      ) as string,
    });
  });

  it('of newer transformers versions is read', async () => {
    const newer = {
      do_convert_rgb: true,
      do_normalize: true,
      do_rescale: true,
      do_resize: true,
      resample: 3,
      rescale_factor: 0.00392156862745098,
      dither: 0.0,
      size: { shortest_edge: 3136, longest_edge: 12_845_056 },
    };
    expect(await readPreprocessorConfig(written(newer, 'preprocessor_config.json'))).toEqual(published);
  });
});

describe('Stop ids', () => {
  it("are the thinker's eos where generation_config.json names none, as published", async () => {
    expect(await readStopIds(await readModelConfig(golden('checkpoints/tiny-a')))).toEqual([1962]);
  });

  it.each<[unknown, number[]]>([
    [7, [1962, 7]],
    [
      [1962, 8],
      [1962, 8],
    ],
  ])('include those of generation_config.json: %j', async (eos, expected) => {
    const directory = written(original());
    writeFileSync(join(directory, 'generation_config.json'), JSON.stringify({ eos_token_id: eos }));
    expect(await readStopIds(await readModelConfig(directory))).toEqual(expected);
  });
});
