import { isExport } from '../export/export-cache.ts';
import { openManifest } from '../export/manifest.ts';

/**
 * Where tokenizer, template and settings of a model lie: the directory itself, or the checkpoint an export was made from.
 * @throws AvocadoError `export_incomplete`, `export_stale`
 */
export async function checkpointDirectoryOf(modelDir: string): Promise<string> {
  return (await isExport(modelDir)) ? (await openManifest(modelDir)).checkpoint.directory : modelDir;
}
