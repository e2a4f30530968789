import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { exportModel } from '../../../src/model/export/export.ts';
import { openManifest } from '../../../src/model/export/manifest.ts';
import { writeVariant } from '../../fixtures/checkpoint-variants.ts';
import { runFixed } from '../../fixtures/fixed-run.ts';

let scratch: string;
let checkpoint: string;
let out: string;
let count = 0;
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'avocado-export-'));
});
afterAll(() => {
  rmSync(scratch, { recursive: true, force: true });
});
beforeEach(() => {
  const place = join(scratch, String(count++));
  checkpoint = writeVariant(join(place, 'checkpoint'), { base: 'tiny-b' });
  out = join(place, 'exports', 'int4');
});

/** What is in the export's parent directory, without the export itself. */
const left = (): string[] =>
  existsSync(join(out, '..')) ? readdirSync(join(out, '..')).filter((name) => name !== 'int4') : [];

const incomplete = (text: string): object => ({
  code: 'export_incomplete',
  message: expect.stringContaining(text) as string,
});
const stale = (text: string): object => ({ code: 'export_stale', message: expect.stringContaining(text) as string });

describe('An export', () => {
  it('appears complete, with progress reports', async () => {
    const reports: [number, number][] = [];
    const manifest = await exportModel(checkpoint, 'int4', out, {
      onProgress: (done, total) => {
        reports.push([done, total]);
      },
    });
    expect(readdirSync(out).sort()).toEqual([
      'audio.onnx',
      'decoder.onnx',
      'manifest.json',
      'vision.onnx',
      'weights.bin',
    ]);
    expect(await openManifest(out)).toEqual(manifest);
    expect(reports[0]?.[0]).toBe(0);
    expect(reports.at(-1)?.[0]).toBe(reports.at(-1)?.[1]);
    expect(left()).toEqual([]);
  });

  it('copies no weights where the checkpoint has the right type', async () => {
    const manifest = await exportModel(checkpoint, 'bf16', out);
    expect(readdirSync(out)).not.toContain('weights.bin');
    // Most of it is the rope tables of 32,768 positions.
    expect(manifest.files.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThan(5e6);
  });

  it('says so where no directory can be made', async () => {
    await expect(exportModel(checkpoint, 'fp32', '/proc/avocado-export')).rejects.toMatchObject({
      code: 'bad_request',
      message: '/proc/avocado-export cannot be written to (ENOENT): give another directory.',
    });
  });

  it('replaces an earlier one', async () => {
    await exportModel(checkpoint, 'fp32', out);
    await exportModel(checkpoint, 'int4', out);
    expect((await openManifest(out)).precision).toBe('int4');
    expect(left()).toEqual([]);
  });

  it('runs from its own directory, and without naming a precision', async () => {
    await exportModel(checkpoint, 'int4', out);
    const named = await runFixed(checkpoint, { cacheDir: join(scratch, 'cache'), precision: 'int4' });
    expect(await runFixed(out, { precision: undefined })).toEqual(named);
  });

  it('is refused in another precision than it has', async () => {
    await exportModel(checkpoint, 'int4', out);
    await expect(runFixed(out, { precision: 'fp32' })).rejects.toMatchObject({
      code: 'precision_unsupported',
      message: expect.stringContaining('int4') as string,
    });
  });

  it('is refused in a precision that does not exist, naming those that do', async () => {
    await expect(exportModel(checkpoint, 'int5', out)).rejects.toMatchObject({
      code: 'precision_unsupported',
      message: expect.stringContaining('fp32, int8, int4, bf16, fp16') as string,
    });
    expect(existsSync(join(out, '..'))).toBe(false);
  });

  it('never overwrites other files', async () => {
    mkdirSync(out, { recursive: true });
    writeFileSync(join(out, 'thesis.txt'), 'ten years');
    await expect(exportModel(checkpoint, 'int4', out)).rejects.toMatchObject({ code: 'bad_request', param: 'out' });
    expect(readdirSync(out)).toEqual(['thesis.txt']);
    await expect(exportModel(checkpoint, 'int4', join(out, 'thesis.txt'))).rejects.toMatchObject({
      code: 'bad_request',
    });
    await expect(exportModel(checkpoint, 'int4', checkpoint)).rejects.toMatchObject({ code: 'bad_request' });
    expect(left()).toEqual([]);
  });

  it('through a symlink is written where the link points', async () => {
    mkdirSync(join(out, '..', 'real'), { recursive: true });
    symlinkSync('real', out);
    await exportModel(checkpoint, 'int4', out);
    expect(existsSync(join(out, '..', 'real', 'manifest.json'))).toBe(true);
    await expect(runFixed(out, { precision: 'int4' })).resolves.toBeDefined();
  });
});

describe('An export that does not finish', () => {
  it('leaves nothing when it is cancelled', async () => {
    const cancel = new AbortController();
    const options = {
      signal: cancel.signal,
      onProgress: (done: number) => {
        if (done > 0) cancel.abort();
      },
    };
    await expect(exportModel(checkpoint, 'int4', out, options)).rejects.toMatchObject({ code: 'aborted' });
    expect([existsSync(out), left()]).toEqual([false, []]);
  });

  it('leaves nothing, and does not touch an earlier export, when the disk fails', async () => {
    await exportModel(checkpoint, 'fp32', out);
    const breakDisk = (done: number): void => {
      if (done > 0) for (const name of left()) rmSync(join(out, '..', name), { recursive: true, force: true });
    };
    await expect(exportModel(checkpoint, 'int4', out, { onProgress: breakDisk })).rejects.toMatchObject(
      incomplete('Quantising'),
    );
    expect(left()).toEqual([]);
    expect((await openManifest(out)).precision).toBe('fp32');
  });

  it('that was killed never loads, and the next export removes it', async () => {
    const killed = spawnSync(process.execPath, [
      '--import',
      'tsx',
      fileURLToPath(new URL('../../fixtures/export-and-die.ts', import.meta.url)),
      checkpoint,
      out,
    ]);
    expect(killed.signal).toBe('SIGKILL');
    expect(existsSync(out)).toBe(false);
    const [abandoned = ''] = left();
    expect(readdirSync(join(out, '..', abandoned))).toContain('weights.bin');
    await expect(openManifest(join(out, '..', abandoned))).rejects.toMatchObject(incomplete('never finished'));
    await exportModel(checkpoint, 'int4', out);
    expect(left()).toEqual([]);
    await expect(openManifest(out)).resolves.toBeDefined();
  });

  it('at the same time as another to the same place: both finish, one stays, complete', async () => {
    await Promise.all([
      exportModel(checkpoint, 'int4', out),
      exportModel(checkpoint, 'int4', out),
      exportModel(checkpoint, 'int4', out),
    ]);
    expect(left()).toEqual([]);
    await expect(runFixed(out, { precision: 'int4' })).resolves.toBeDefined();
  });
});

describe('A finished export is refused', () => {
  beforeEach(() => exportModel(checkpoint, 'int4', out));

  it('when a file was truncated', async () => {
    truncateSync(join(out, 'weights.bin'), 1000);
    await expect(runFixed(out, { precision: 'int4' })).rejects.toMatchObject(incomplete('weights.bin has 1000 bytes'));
  });

  it('when a file is missing', async () => {
    rmSync(join(out, 'audio.onnx'));
    await expect(openManifest(out)).rejects.toMatchObject(incomplete('audio.onnx is missing'));
  });

  it('when a graph was changed', async () => {
    const bytes = readFileSync(join(out, 'decoder.onnx'));
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    writeFileSync(join(out, 'decoder.onnx'), bytes);
    await expect(openManifest(out)).rejects.toMatchObject(incomplete('decoder.onnx is not what was exported'));
  });

  it('without its manifest', async () => {
    rmSync(join(out, 'manifest.json'));
    await expect(runFixed(out, { precision: 'int4' })).rejects.toMatchObject(incomplete('never finished'));
  });

  it.each([
    ['cut short', (text: string) => text.slice(0, 100)],
    ['of another kind', () => '{"format":"other"}'],
  ])('with a manifest %s', async (_, edit) => {
    writeFileSync(join(out, 'manifest.json'), edit(readFileSync(join(out, 'manifest.json'), 'utf8')));
    await expect(runFixed(out, { precision: 'int4' })).rejects.toMatchObject({ code: 'export_incomplete' });
  });

  it('when another version made it, naming the command', async () => {
    const path = join(out, 'manifest.json');
    writeFileSync(path, readFileSync(path, 'utf8').replace(/"exporter": \d+/, '"exporter": 0'));
    await expect(openManifest(out)).rejects.toMatchObject(
      stale(`avocado export ${checkpoint} --precision int4 --out ${out}`),
    );
  });

  it('when it was moved', async () => {
    renameSync(out, `${out}-moved`);
    await expect(openManifest(`${out}-moved`)).rejects.toMatchObject(stale('Move it back'));
  });

  it('when the checkpoint was moved', async () => {
    renameSync(checkpoint, `${checkpoint}-moved`);
    await expect(openManifest(out)).rejects.toMatchObject(stale('no longer there'));
  });

  it('when a shard of the checkpoint changed, in size or only in its modification time', async () => {
    const shard = join(checkpoint, 'model-00001-of-00002.safetensors');
    utimesSync(shard, 1, 1);
    await expect(openManifest(out)).rejects.toMatchObject(stale('model-00001-of-00002.safetensors, which has changed'));
    await exportModel(checkpoint, 'int4', out);
    appendFileSync(shard, 'x');
    await expect(openManifest(out)).rejects.toMatchObject(stale('has changed'));
  });

  it('when config.json changed', async () => {
    appendFileSync(join(checkpoint, 'config.json'), ' ');
    await expect(openManifest(out)).rejects.toMatchObject(stale('config.json'));
  });
});
