// The three architecture parts of a thinker's config.json (reference-model.md, Config fields). What the graphs, the
// pre-processing or the addon cannot do is refused by name here, so that it never ends in wrong numbers later.
import type { AudioConfig, TextConfig, VisionConfig } from './config-types.ts';
import type { JsonFields } from './json-fields.ts';

// Far beyond every published model. Graphs are built and tables are filled from these before a weight is looked at.
const MOST_LAYERS = 1024;
const MOST_CHANNELS = 262_144;
const MOST_POSITIONS = 262_144;
/** As many as the sampler can sort. */
const MOST_TOKENS = 2 ** 21;

/** M-RoPE settings: `rope_parameters` since transformers 5, before that `rope_scaling` beside `rope_theta`. */
function readRope(text: JsonFields, headDim: number): Pick<TextConfig, 'ropeTheta' | 'mropeSection'> {
  const field = text.has('rope_parameters') ? 'rope_parameters' : 'rope_scaling';
  const rope = text.object(field);
  for (const type of ['rope_type', 'type']) rope.only(type, ['default', 'mrope']);
  if (rope.raw('mrope_interleaved') === true)
    throw rope.invalid('mrope_interleaved', 'is true; only contiguous sections are supported');
  const [t, h, w, ...rest] = rope.numbers('mrope_section');
  const counts = [t ?? -1, h ?? -1, w ?? -1, ...rest];
  if (
    t === undefined ||
    h === undefined ||
    w === undefined ||
    counts.length > 3 ||
    !counts.every((size) => Number.isInteger(size) && size >= 0)
  ) {
    throw rope.invalid('mrope_section', 'must be three counts of channel pairs');
  }
  if (t + h + w !== headDim / 2)
    throw rope.invalid('mrope_section', `must sum to half the head's ${headDim} channels, found ${t + h + w}`);
  const ropeTheta = rope.has('rope_theta') ? rope.positive('rope_theta') : text.positive('rope_theta', 1_000_000);
  return { ropeTheta, mropeSection: [t, h, w] };
}

function refuseSlidingWindow(text: JsonFields, layers: number): void {
  text.only('use_sliding_window', [false, true]);
  const layerTypes = text.raw('layer_types');
  const windowed = Array.isArray(layerTypes)
    ? layerTypes.some((type) => type !== 'full_attention')
    : text.integer('max_window_layers', 28, 0) < layers;
  if (text.raw('use_sliding_window') === true && text.has('sliding_window') && windowed) {
    throw text.invalid(
      'use_sliding_window',
      'is true, so some layers would attend to a window only; supported: full attention in every layer',
    );
  }
}

/** Reads `text_config`. @throws AvocadoError `checkpoint_invalid`, naming the field */
export function readText(text: JsonFields): TextConfig {
  text.only('hidden_act', ['silu']);
  const layers = text.integer('num_hidden_layers', undefined, 1, MOST_LAYERS);
  refuseSlidingWindow(text, layers);
  const hiddenSize = text.integer('hidden_size', undefined, 1, MOST_CHANNELS);
  const heads = text.integer('num_attention_heads', undefined, 1, MOST_CHANNELS);
  const kvHeads = text.integer('num_key_value_heads', heads);
  if (heads % kvHeads !== 0)
    throw text.invalid('num_key_value_heads', `must divide num_attention_heads ${heads}, found ${kvHeads}`);
  const headDim = text.integer('head_dim', Math.floor(hiddenSize / heads), 1, MOST_CHANNELS);
  // The attention kernels read heads in vectors of 8 (onnxruntime.md, GroupQueryAttention).
  if (headDim % 8 !== 0 || (!text.has('head_dim') && headDim * heads !== hiddenSize)) {
    throw text.invalid(
      'hidden_size',
      `${hiddenSize} over ${heads} heads gives ${hiddenSize / heads} channels a head; a multiple of 8 is supported`,
    );
  }
  return {
    hiddenSize,
    intermediateSize: text.integer('intermediate_size', undefined, 1, MOST_CHANNELS),
    layers,
    heads,
    kvHeads,
    headDim,
    vocabSize: text.integer('vocab_size', undefined, 1, MOST_TOKENS),
    maxPositions: text.integer('max_position_embeddings', 32_768, 1, MOST_POSITIONS),
    rmsNormEps: text.positive('rms_norm_eps', 1e-6),
    ...readRope(text, headDim),
  };
}

/**
 * Reads `vision_config`. Patch geometry is fixed in src/media (sizes are multiples of 28) and in the patch kernels
 * (src/features, native/patches.cc): RGB, 14 x 14 pixels, 2 frames a step, 2 x 2 patches merged into one token.
 * @param outputSize the language model's hidden size, which embeddings must have
 * @throws AvocadoError `checkpoint_invalid`, naming the field
 */
export function readVision(vision: JsonFields, outputSize: number): VisionConfig {
  vision.only('hidden_act', ['silu']);
  vision.only('out_hidden_size', [outputSize]);
  if (vision.has('rope_parameters')) vision.object('rope_parameters').only('rope_theta', [10_000]);
  const depth = vision.integer('depth', undefined, 1, MOST_LAYERS);
  const hiddenSize = vision.integer('hidden_size', undefined, 1, MOST_CHANNELS);
  const heads = vision.integer('num_heads');
  const headDim = hiddenSize / heads;
  if (headDim % 4 !== 0) {
    throw vision.invalid(
      'num_heads',
      `must split hidden_size ${hiddenSize} into heads of a multiple of 4 channels, found ${heads}`,
    );
  }
  const patchSize = vision.exactly('patch_size', 14);
  const mergeSize = vision.exactly('spatial_merge_size', 2);
  const windowSize = vision.integer('window_size', 112);
  if (windowSize < patchSize * mergeSize) {
    throw vision.invalid('window_size', `must be at least ${patchSize * mergeSize} pixels, one merged group`);
  }
  const fullAttentionBlocks = vision.numbers('fullatt_block_indexes', [7, 15, 23, 31]);
  if (!fullAttentionBlocks.every((block) => Number.isInteger(block) && block >= 0)) {
    throw vision.invalid('fullatt_block_indexes', 'must be a list of block numbers');
  }
  return {
    depth,
    hiddenSize,
    intermediateSize: vision.integer('intermediate_size', undefined, 1, MOST_CHANNELS),
    heads,
    headDim,
    channels: vision.exactly('in_channels', 3),
    patchSize,
    temporalPatchSize: vision.exactly('temporal_patch_size', 2),
    mergeSize,
    windowSize,
    fullAttentionBlocks,
  };
}

/**
 * Reads `audio_config`. The log-mel code in src/features makes 128 bands.
 * @param outputSize the language model's hidden size, which embeddings must have
 * @throws AvocadoError `checkpoint_invalid`, naming the field
 */
export function readAudio(audio: JsonFields, outputSize: number): AudioConfig {
  audio.only('activation_function', ['gelu']);
  audio.only('scale_embedding', [false]);
  audio.only('output_dim', [outputSize]);
  const hiddenSize = audio.integer('d_model', undefined, 1, MOST_CHANNELS);
  const heads = audio.integer('encoder_attention_heads');
  if (hiddenSize % heads !== 0 || hiddenSize % 2 !== 0) {
    throw audio.invalid('encoder_attention_heads', `must divide an even d_model, found ${heads} and ${hiddenSize}`);
  }
  const window = audio.integer('n_window', 100);
  if (window > audio.integer('max_source_positions', 1500, 1, MOST_POSITIONS))
    throw audio.invalid('n_window', 'must not exceed max_source_positions');
  return {
    melBins: audio.exactly('num_mel_bins', 128),
    hiddenSize,
    layers: audio.integer('encoder_layers', undefined, 1, MOST_LAYERS),
    heads,
    headDim: hiddenSize / heads,
    ffnSize: audio.integer('encoder_ffn_dim', undefined, 1, MOST_CHANNELS),
    chunkFrames: 2 * window,
  };
}
