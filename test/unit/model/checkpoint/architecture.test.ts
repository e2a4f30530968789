import { describe, expect, it } from 'vitest';
import { readAudio, readText, readVision } from '../../../../src/model/checkpoint/architecture.ts';
import { JsonFields } from '../../../../src/model/checkpoint/json-fields.ts';

// The published values of Qwen2.5-Omni-7B.
const TEXT = {
  hidden_size: 3584,
  intermediate_size: 18_944,
  num_hidden_layers: 28,
  num_attention_heads: 28,
  num_key_value_heads: 4,
  vocab_size: 152_064,
  max_position_embeddings: 32_768,
  rms_norm_eps: 1e-6,
  hidden_act: 'silu',
  rope_theta: 1_000_000,
  rope_scaling: { mrope_section: [16, 24, 24], rope_type: 'default', type: 'default' },
};
const VISION = {
  depth: 32,
  hidden_size: 1280,
  intermediate_size: 3420,
  num_heads: 16,
  hidden_act: 'silu',
  out_hidden_size: 3584,
  in_channels: 3,
  patch_size: 14,
  temporal_patch_size: 2,
  spatial_merge_size: 2,
  window_size: 112,
  fullatt_block_indexes: [7, 15, 23, 31],
};
const AUDIO = {
  num_mel_bins: 128,
  d_model: 1280,
  encoder_layers: 32,
  encoder_attention_heads: 20,
  encoder_ffn_dim: 5120,
  activation_function: 'gelu',
  scale_embedding: false,
  max_source_positions: 1500,
  n_window: 100,
  output_dim: 3584,
};

type Json = Readonly<Record<string, unknown>>;
const text = (changes: Json = {}) => readText(new JsonFields('config.json', 'text_config', { ...TEXT, ...changes }));
const vision = (changes: Json = {}) =>
  readVision(new JsonFields('config.json', 'vision_config', { ...VISION, ...changes }), 3584);
const audio = (changes: Json = {}) =>
  readAudio(new JsonFields('config.json', 'audio_config', { ...AUDIO, ...changes }), 3584);

/** Checks that `read` fails with an error that names the file, the field, and each of the given words. */
function expectRefusal(read: () => unknown, param: string, ...words: readonly string[]): void {
  let thrown: unknown;
  try {
    read();
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toMatchObject({ code: 'checkpoint_invalid', param });
  for (const word of ['config.json', param, ...words]) expect((thrown as Error).message).toContain(word);
}

it('reads the published architecture', () => {
  expect(text()).toMatchObject({ headDim: 128, heads: 28, kvHeads: 4, ropeTheta: 1e6, mropeSection: [16, 24, 24] });
  expect(vision()).toMatchObject({ headDim: 80, patchSize: 14, temporalPatchSize: 2, mergeSize: 2, channels: 3 });
  expect(audio()).toMatchObject({ headDim: 64, melBins: 128, chunkFrames: 200 });
});

it('uses the published geometry where fields are absent', () => {
  const without = { in_channels: undefined, patch_size: null, temporal_patch_size: undefined };
  expect(vision({ ...without, spatial_merge_size: undefined, window_size: undefined })).toEqual(vision());
  expect(audio({ num_mel_bins: undefined, n_window: undefined })).toEqual(audio());
});

describe('Geometry that the pre-processing and the addon do not have is refused by name', () => {
  it.each<[string, unknown, string]>([
    ['in_channels', 1, 'supported: 3'],
    ['in_channels', 4, 'supported: 3'],
    ['patch_size', 16, 'supported: 14'],
    ['patch_size', '14', 'supported: 14'],
    ['temporal_patch_size', 1, 'supported: 2'],
    ['spatial_merge_size', 4, 'supported: 2'],
    ['spatial_merge_size', 1, 'supported: 2'],
  ])('vision_config.%s = %j', (field, value, supported) => {
    expectRefusal(() => vision({ [field]: value }), `vision_config.${field}`, JSON.stringify(value), supported);
  });

  it.each([80, 256])('audio_config.num_mel_bins = %d', (bins) => {
    expectRefusal(() => audio({ num_mel_bins: bins }), 'audio_config.num_mel_bins', `is ${bins}`, 'supported: 128');
  });

  it('but other window and chunk lengths are read', () => {
    expect(vision({ window_size: 56 }).windowSize).toBe(56);
    expect(audio({ n_window: 50 }).chunkFrames).toBe(100);
  });
});

describe('What the graphs cannot compute is refused by name', () => {
  it.each<[string, unknown, string]>([
    ['hidden_act', 'gelu', '"silu"'],
    ['num_key_value_heads', 5, 'must divide num_attention_heads 28'],
    ['head_dim', 100, 'a multiple of 8'],
    ['hidden_size', 3600, 'a multiple of 8'],
    ['num_hidden_layers', 0, 'an integer between 1'],
    ['intermediate_size', undefined, 'is missing'],
    ['rms_norm_eps', 0, 'a positive number'],
    ['rope_scaling', undefined, 'is missing'],
  ])('text_config.%s = %j', (field, value, words) => {
    // A head size that does not fit is a property of hidden_size and the number of heads.
    const named = field === 'head_dim' ? 'hidden_size' : field;
    expectRefusal(() => text({ [field]: value }), `text_config.${named}`, words);
  });

  it.each<[string, unknown, string]>([
    ['rope_type', 'yarn', '"default"'],
    ['type', 'dynamic', '"default"'],
    ['mrope_interleaved', true, 'only contiguous sections'],
    ['mrope_section', [32, 32], 'three counts'],
    ['mrope_section', [16, 24, 24, 0], 'three counts'],
    ['mrope_section', [16, 24, -1], 'three counts'],
    ['mrope_section', [16, 24, 25], 'found 65'],
  ])('text_config.rope_scaling.%s = %j', (field, value, words) => {
    const rope = { ...TEXT.rope_scaling, [field]: value };
    expectRefusal(() => text({ rope_scaling: rope }), `text_config.rope_scaling.${field}`, words);
  });

  it('a sliding window that some layers would use', () => {
    const windowed = { use_sliding_window: true, sliding_window: 4096, max_window_layers: 20 };
    expectRefusal(() => text(windowed), 'text_config.use_sliding_window', 'full attention in every layer');
    const layerTypes = ['full_attention', 'sliding_attention'];
    expectRefusal(() => text({ ...windowed, layer_types: layerTypes }), 'text_config.use_sliding_window');
    expect(text({ ...windowed, max_window_layers: 28 })).toEqual(text());
    expect(text({ ...windowed, use_sliding_window: false })).toEqual(text());
  });

  it.each<[string, unknown, string]>([
    ['hidden_act', 'gelu', '"silu"'],
    ['out_hidden_size', 2048, 'supported: 3584'],
    ['num_heads', 15, 'a multiple of 4'],
    ['window_size', 27, 'at least 28'],
    ['fullatt_block_indexes', [7, 1.5], 'block numbers'],
    ['depth', undefined, 'is missing'],
  ])('vision_config.%s = %j', (field, value, words) => {
    expectRefusal(() => vision({ [field]: value }), `vision_config.${field}`, words);
  });

  it('vision_config.rope_parameters.rope_theta = 5000', () => {
    const changed = { rope_parameters: { rope_theta: 5000 } };
    expectRefusal(() => vision(changed), 'vision_config.rope_parameters.rope_theta', 'supported: 10000');
  });

  it.each<[string, unknown, string]>([
    ['activation_function', 'relu', '"gelu"'],
    ['scale_embedding', true, 'supported: false'],
    ['output_dim', 2048, 'supported: 3584'],
    ['encoder_attention_heads', 19, 'must divide an even d_model'],
    ['n_window', 1501, 'max_source_positions'],
    ['encoder_layers', undefined, 'is missing'],
  ])('audio_config.%s = %j', (field, value, words) => {
    expectRefusal(() => audio({ [field]: value }), `audio_config.${field}`, words);
  });
});
