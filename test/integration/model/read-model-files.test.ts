import { mkdtempSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { exportModel } from '../../../src/model/export/export.ts';
import { readModelFiles } from '../../../src/model/export/read-model-files.ts';
import { writeVariant } from '../../fixtures/checkpoint-variants.ts';

let scratch: string;
let checkpoint: string;
beforeEach(() => {
  scratch = realpathSync(mkdtempSync(join(tmpdir(), 'avocado-files-')));
  checkpoint = writeVariant(join(scratch, 'checkpoint'), { base: 'tiny-a' });
});
afterEach(() => {
  rmSync(scratch, { recursive: true, force: true });
});

describe('readModelFiles', () => {
  it('reads all settings of a checkpoint', async () => {
    writeFileSync(join(checkpoint, 'generation_config.json'), JSON.stringify({ eos_token_id: 7 }));
    writeFileSync(join(checkpoint, 'preprocessor_config.json'), JSON.stringify({ image_mean: [0.5, 0.5, 0.5] }));
    writeFileSync(join(checkpoint, 'avocado.json'), JSON.stringify({ name: 'mine' }));
    const files = await readModelFiles(checkpoint);
    expect(files).toMatchObject({
      directory: checkpoint,
      config: { directory: checkpoint, text: { layers: 3 } },
      preprocessor: { imageMean: [0.5, 0.5, 0.5] },
      stopIds: [1962, 7],
      package: { name: 'mine' },
    });
    expect(files.manifest).toBeUndefined();
  });

  it('of an export, reads the settings of its checkpoint, and the checked manifest', async () => {
    const directory = join(scratch, 'export');
    const manifest = await exportModel(checkpoint, 'int4', directory);
    const files = await readModelFiles(directory);
    expect(files).toEqual({ ...(await readModelFiles(checkpoint)), manifest });
    const moved = join(scratch, 'moved');
    renameSync(directory, moved);
    await expect(readModelFiles(moved)).rejects.toMatchObject({ code: 'export_stale' });
  });

  it.each([
    ['config.json', 'checkpoint_not_found'],
    ['generation_config.json', undefined],
    ['preprocessor_config.json', undefined],
  ])('without %s: %s', async (name, code) => {
    rmSync(join(checkpoint, name), { force: true });
    const read = readModelFiles(checkpoint);
    if (code === undefined) await expect(read).resolves.toMatchObject({ stopIds: [1962] });
    else await expect(read).rejects.toMatchObject({ code });
  });
});
