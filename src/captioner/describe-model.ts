import type { CaptionerModel } from './captioner.ts';
import { resolveProfile } from '../media/profile.ts';
import { checkpointDirectoryOf } from '../model/export/read-model-files.ts';
import { readModelConfig } from '../model/checkpoint/config.ts';
import { readManifest } from '../model/export/manifest.ts';
import { readModelPackage } from '../model/checkpoint/model-package.ts';
import { DEFAULT_CONTEXT, deviceName, type OpenOptions } from './open-model.ts';
import { profileLabel } from './plan-request.ts';

/**
 * What a model is, from its small files alone: known long before its weights are loaded. `runtime` is ''.
 * @throws AvocadoError `checkpoint_not_found`, `checkpoint_invalid`, `export_*`
 */
export async function describeModel(options: OpenOptions): Promise<CaptionerModel> {
  const directory = await checkpointDirectoryOf(options.modelDir);
  const [config, modelPackage, manifest] = await Promise.all([
    readModelConfig(directory),
    readModelPackage(directory),
    readManifest(options.modelDir),
  ]);
  return {
    name: modelPackage.name,
    directory: config.directory,
    precision: options.precision ?? manifest?.precision ?? (options.device.type === 'cuda' ? 'bf16' : 'fp32'),
    device: deviceName(options.device),
    runtime: '',
    context: options.context ?? DEFAULT_CONTEXT,
    slots: options.slots,
    profile: profileLabel(resolveProfile(undefined, {}, modelPackage.profile)),
  };
}
