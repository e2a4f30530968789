// The JSON settings of a Qwen2.5-Omni checkpoint: config.json (of the whole model or of the thinker alone),
// preprocessor_config.json and generation_config.json. Field names as published (reference-model.md, Config fields) and
// as newer transformers versions write them.
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { AvocadoError } from '../../base/errors.ts';
import { readAudio, readText, readVision } from './architecture.ts';
import type { ModelConfig, TokenIds } from './config-types.ts';
import { readJsonFields, type JsonFields } from './json-fields.ts';

const SUPPORTED =
  'supported: Qwen2.5-Omni (model_type qwen2_5_omni or qwen2_5_omni_thinker), such as Qwen2.5-Omni-7B, -3B and AVoCaDO';

function readTokens(thinker: JsonFields, vocabSize: number): TokenIds {
  const id = (names: readonly string[], fallback: number): number =>
    thinker.integer(names.find((name) => thinker.has(name)) ?? names[0] ?? '', fallback, 0, vocabSize - 1);
  return {
    audio: id(['audio_token_index', 'audio_token_id'], 151_646),
    audioStart: id(['audio_start_token_id'], 151_647),
    audioEnd: id(['audio_end_token_id'], 151_648),
    image: id(['image_token_index', 'image_token_id'], 151_655),
    video: id(['video_token_index', 'video_token_id'], 151_656),
    visionStart: id(['vision_start_token_id'], 151_652),
    visionEnd: id(['vision_end_token_id'], 151_653),
    eos: id(['eos_token_id'], 151_645),
    pad: id(['pad_token_id'], 151_643),
  };
}

/** Ways to quantise, by their `quant_method`. */
const QUANTISERS: Readonly<Record<string, string>> = {
  gptq: 'GPTQ',
  awq: 'AWQ',
  bitsandbytes: 'bitsandbytes',
  fp8: 'FP8',
  'compressed-tensors': 'compressed-tensors',
};

function refuseQuantised(fields: JsonFields): void {
  if (!fields.has('quantization_config')) return;
  const method = fields.object('quantization_config').raw('quant_method');
  const name = typeof method === 'string' ? (QUANTISERS[method] ?? method.slice(0, 64)) : 'an unknown method';
  throw fields.invalid(
    'quantization_config',
    `says that the weights are quantised (${name}), which this program does not read. Take the checkpoint that it was ` +
      'made from, such as Qwen/Qwen2.5-Omni-7B, and quantise it here with --precision int4',
  );
}

/**
 * Reads and checks `config.json`.
 * @throws AvocadoError `checkpoint_not_found` (no directory, no config.json), `checkpoint_invalid` (another model type,
 * a wrong or unsupported value; names the field)
 */
export async function readModelConfig(path: string): Promise<ModelConfig> {
  const directory = await realpath(path).catch((error: unknown) => {
    throw new AvocadoError(
      'checkpoint_not_found',
      `No checkpoint at ${path}: give the directory that holds config.json.`,
      { cause: error },
    );
  });
  const whole = await readJsonFields(join(directory, 'config.json'));
  if (whole === undefined) {
    throw new AvocadoError(
      'checkpoint_not_found',
      `${directory} holds no config.json: give the directory of a Hugging Face checkpoint.`,
    );
  }
  const type = whole.raw('model_type');
  if (type !== 'qwen2_5_omni' && type !== 'qwen2_5_omni_thinker') {
    throw whole.invalid('model_type', `is ${JSON.stringify(type)}; ${SUPPORTED}`);
  }
  const thinker = type === 'qwen2_5_omni' ? whole.object('thinker_config') : whole;
  for (const fields of [whole, thinker, thinker.object('text_config')]) refuseQuantised(fields);
  const text = readText(thinker.object('text_config'));
  return {
    directory,
    text,
    vision: readVision(thinker.object('vision_config'), text.hiddenSize),
    audio: readAudio(thinker.object('audio_config'), text.hiddenSize),
    tokens: readTokens(thinker, text.vocabSize),
    positionIdPerSeconds: thinker.integer('position_id_per_seconds', 25),
    secondsPerChunk: thinker.positive('seconds_per_chunk', 2),
  };
}

export interface PreprocessorConfig {
  /** per channel, of pixel values in 0..1 */
  readonly imageMean: readonly [number, number, number];
  readonly imageStd: readonly [number, number, number];
  /** limits for still pictures; videos have their own (reference-model.md, Still pictures) */
  readonly minPixels: number;
  readonly maxPixels: number;
}

/** As published with Qwen2.5-Omni and AVoCaDO. */
const PUBLISHED: PreprocessorConfig = {
  imageMean: [0.48145466, 0.4578275, 0.40821073],
  imageStd: [0.26862954, 0.26130258, 0.27577711],
  minPixels: 3136,
  maxPixels: 12_845_056,
};

/**
 * What src/media, src/features and native/ do and cannot change: patch geometry, bicubic resize, rescaling and
 * normalisation of pixels, and the log-mel spectrogram of up to 300 s of silence-padded 16 kHz sound.
 */
const FIXED: Readonly<Record<string, unknown>> = {
  patch_size: 14,
  temporal_patch_size: 2,
  merge_size: 2,
  do_resize: true,
  resample: 3,
  do_rescale: true,
  rescale_factor: 1 / 255,
  do_normalize: true,
  feature_size: 128,
  sampling_rate: 16_000,
  n_fft: 400,
  hop_length: 160,
  chunk_length: 300,
  padding_value: 0,
  dither: 0,
};

/**
 * Reads `preprocessor_config.json`. Uses the published values where the file or a field is absent.
 * @throws AvocadoError `checkpoint_invalid`, naming the field: a wrong value, or one that the pre-processing does not
 * support
 */
export async function readPreprocessorConfig(directory: string): Promise<PreprocessorConfig> {
  const fields = await readJsonFields(join(directory, 'preprocessor_config.json'));
  if (fields === undefined) return PUBLISHED;
  for (const [name, value] of Object.entries(FIXED)) fields.only(name, [value]);
  const triple = (name: string, fallback: readonly number[]): readonly [number, number, number] => {
    const [red, green, blue, ...rest] = fields.numbers(name, fallback);
    if (red === undefined || green === undefined || blue === undefined || rest.length > 0)
      throw fields.invalid(name, 'must hold three numbers');
    return [red, green, blue];
  };
  const imageStd = triple('image_std', PUBLISHED.imageStd);
  if (imageStd.some((value) => value <= 0)) throw fields.invalid('image_std', 'must be positive');
  // transformers 4.53 and newer save the limits in `size`. They are called edges there but still count pixels.
  const size = fields.has('size') ? fields.object('size') : undefined;
  return {
    imageMean: triple('image_mean', PUBLISHED.imageMean),
    imageStd,
    minPixels: fields.integer('min_pixels', size?.integer('shortest_edge', PUBLISHED.minPixels) ?? PUBLISHED.minPixels),
    maxPixels: fields.integer('max_pixels', size?.integer('longest_edge', PUBLISHED.maxPixels) ?? PUBLISHED.maxPixels),
  };
}

/**
 * Token ids that end a caption: the thinker's eos and those that `generation_config.json` lists. The published file
 * lists none (reference-model.md, Generation). The pad token does not end a caption, as in the reference.
 * @throws AvocadoError `checkpoint_invalid`
 */
export async function readStopIds({ directory, tokens }: ModelConfig): Promise<readonly number[]> {
  const fields = await readJsonFields(join(directory, 'generation_config.json'));
  const eos = fields?.raw('eos_token_id');
  const listed = typeof eos === 'number' ? [eos] : (fields?.numbers('eos_token_id', []) ?? []);
  return [...new Set([tokens.eos, ...listed])];
}
