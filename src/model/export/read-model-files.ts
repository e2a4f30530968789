// The small files of a model directory, each read once when the model is opened. Tokenizer and template are read by
// src/prompt from the same directory.
import { readModelConfig, readPreprocessorConfig, readStopIds, type PreprocessorConfig } from '../checkpoint/config.ts';
import type { ModelConfig } from '../checkpoint/config-types.ts';
import type { PresetName } from '../../settings/presets.ts';
import { readModelPackage, type ModelPackage } from '../checkpoint/model-package.ts';
import { isExport, openManifest, type Manifest } from './manifest.ts';

export interface ModelFiles {
  /** the checkpoint: the model directory itself, or the one that an export was made from */
  readonly directory: string;
  readonly config: ModelConfig;
  readonly preprocessor: PreprocessorConfig;
  /** token ids that end a caption */
  readonly stopIds: readonly number[];
  readonly package: ModelPackage;
  /** checked; undefined when the model directory is a checkpoint */
  readonly manifest: Manifest | undefined;
}

/**
 * Reads and checks manifest.json (of an export), config.json, generation_config.json, preprocessor_config.json and
 * avocado.json.
 * @param modelDir a checkpoint directory, or an export of one
 * @param preset whose defaults hold; auto: those that avocado.json or the model's name implies
 * @throws AvocadoError `checkpoint_not_found`, `checkpoint_invalid`, `export_incomplete`, `export_stale`
 */
export async function readModelFiles(modelDir: string, preset: PresetName | 'auto' = 'auto'): Promise<ModelFiles> {
  const manifest = (await isExport(modelDir)) ? await openManifest(modelDir) : undefined;
  const directory = manifest?.checkpoint.directory ?? modelDir;
  const config = await readModelConfig(directory);
  const [preprocessor, stopIds, modelPackage] = await Promise.all([
    readPreprocessorConfig(directory),
    readStopIds(config),
    readModelPackage(directory, preset),
  ]);
  return { directory, config, preprocessor, stopIds, package: modelPackage, manifest };
}
