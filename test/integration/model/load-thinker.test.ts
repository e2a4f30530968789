import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadThinker } from '../../../src/model/execution/load-thinker.ts';
import { exportModel } from '../../../src/model/export/export.ts';
import { readModelFiles } from '../../../src/model/export/read-model-files.ts';
import { writeVariant } from '../../fixtures/checkpoint-variants.ts';

let scratch: string;
let checkpoint: string;
let cacheDir: string;
beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'avocado-thinker-'));
  checkpoint = writeVariant(join(scratch, 'checkpoint'), { base: 'tiny-a' });
  cacheDir = join(scratch, 'deep', 'cache');
});
afterEach(() => {
  rmSync(scratch, { recursive: true, force: true });
});

describe('Loading a thinker', () => {
  const options = { device: { type: 'cpu' }, threads: 1, spinning: false, slots: 1, capacity: 16 } as const;

  it('refuses precisions that the device has no kernels for, before exporting', async () => {
    const bf16 = loadThinker({ ...options, modelDir: checkpoint, precision: 'bf16', cacheDir });
    await expect(bf16).rejects.toMatchObject({
      code: 'precision_unsupported',
      message: expect.stringContaining('fp32, int8, int4') as string,
    });
    expect(readdirSync(scratch)).not.toContain('deep');
  });

  it('refuses an export whose weights are laid out for another device, and says what to do', async () => {
    const directory = join(scratch, 'export');
    await exportModel(checkpoint, 'int8', directory, { device: 'cuda' });
    await expect(loadThinker({ ...options, modelDir: directory })).rejects.toMatchObject({
      code: 'precision_unsupported',
      message: expect.stringContaining(
        `avocado export ${checkpoint} --precision int8 --device cpu --out DIR`,
      ) as string,
    });
  });

  it('reports progress and describes what was loaded', async () => {
    const reports = new Set<string>();
    const { thinker, precision } = await loadThinker({
      ...options,
      modelDir: checkpoint,
      cacheDir,
      onProgress: (text) => reports.add(text),
    });
    await thinker.close();
    expect([...reports]).toEqual(['Loading vision', 'Loading audio', 'Loading decoder']);
    expect(precision).toBe('fp32');
    expect(thinker.description).toMatchObject({ device: 'cpu', precision: 'fp32', slots: 1, capacity: 16 });
  });

  it('uses files that were read before, and refuses another precision than an export has', async () => {
    const directory = join(scratch, 'export');
    await exportModel(checkpoint, 'int4', directory);
    const files = await readModelFiles(directory);
    const loading = loadThinker({ ...options, modelDir: directory, files, precision: 'fp32' });
    await expect(loading).rejects.toMatchObject({ code: 'precision_unsupported' });
    // Nothing is read from the model directory again: the settings in `files` count.
    const { thinker, precision, config } = await loadThinker({ ...options, modelDir: join(scratch, 'nowhere'), files });
    await thinker.close();
    expect([precision, config]).toEqual(['int4', files.config]);
  });
});
