import { appendFileSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ensureExport } from '../../../src/model/export/export-cache.ts';
import { exportModel } from '../../../src/model/export/export.ts';
import { writeVariant } from '../../fixtures/checkpoint-variants.ts';

let scratch: string;
let checkpoint: string;
let cacheDir: string;
beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'avocado-cache-'));
  checkpoint = writeVariant(join(scratch, 'checkpoint'), { base: 'tiny-a' });
  cacheDir = join(scratch, 'deep', 'cache');
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(scratch, { recursive: true, force: true });
});

const madeAt = (directory: string): number => statSync(join(directory, 'manifest.json')).mtimeMs;

describe('The cache of exports', () => {
  it('builds once and is found again', async () => {
    const first = await ensureExport(checkpoint, 'int4', { cacheDir });
    const made = madeAt(first.directory);
    expect(await ensureExport(checkpoint, 'int4', { cacheDir })).toEqual(first);
    expect(madeAt(first.directory)).toBe(made);
  });

  it('keeps one entry per precision, and of a changed checkpoint also one that was opened lately', async () => {
    const ensure = async (precision: 'fp32' | 'int4'): Promise<string> =>
      (await ensureExport(checkpoint, precision, { cacheDir })).directory;
    const change = (): void => {
      appendFileSync(join(checkpoint, 'config.json'), '\n');
    };
    const entries = (): string[] => readdirSync(cacheDir).map((name) => join(cacheDir, name));
    const lastUsed = (entry: string, hoursAgo: number): void => {
      utimesSync(entry, 0, Date.now() / 1000 - hoursAgo * 3600);
    };
    const fp32 = await ensure('fp32');
    const first = await ensure('int4');
    change();
    const second = await ensure('int4');
    expect(new Set(entries())).toEqual(new Set([fp32, first, second]));
    lastUsed(first, 25);
    lastUsed(second, 25);
    expect(await ensure('int4')).toBe(second);
    change();
    const third = await ensure('int4');
    expect(new Set(entries())).toEqual(new Set([fp32, second, third]));
  });

  it('keeps quantised weights for a CPU and for CUDA apart, and refuses those of the other', async () => {
    const [cpu, cuda] = [
      await ensureExport(checkpoint, 'int4', { cacheDir }),
      await ensureExport(checkpoint, 'int4', { cacheDir, device: 'cuda' }),
    ];
    expect([cpu.device, cuda.device]).toEqual([undefined, 'cuda']);
    expect(readdirSync(cacheDir)).toHaveLength(2);
    expect(await ensureExport(checkpoint, 'bf16', { cacheDir, device: 'cuda' })).not.toHaveProperty('device');
    for (const [{ directory }, device] of [
      [cpu, 'cuda'],
      [cuda, 'cpu'],
    ] as const)
      await expect(ensureExport(directory, undefined, { device })).rejects.toMatchObject({
        code: 'precision_unsupported',
        message: expect.stringMatching(
          `do not run on ${device}: give the checkpoint .* or export again: .* --precision int4 --device ${device}`,
        ) as string,
      });
  });

  it('says that a file is no place for it', async () => {
    await expect(ensureExport(checkpoint, 'fp32', { cacheDir: join(checkpoint, 'config.json') })).rejects.toMatchObject(
      {
        code: 'directory_unwritable',
        message: expect.stringMatching(
          'config.json cannot be written to .* Name another directory with --cache-dir.',
        ) as unknown,
      },
    );
  });

  it('repairs a damaged entry', async () => {
    const { directory } = await ensureExport(checkpoint, 'int4', { cacheDir });
    truncateSync(join(directory, 'weights.bin'), 10);
    const repaired = await ensureExport(checkpoint, 'int4', { cacheDir });
    expect(statSync(join(repaired.directory, 'weights.bin')).size).toBeGreaterThan(1000);
    rmSync(join(directory, 'manifest.json'));
    await expect(ensureExport(checkpoint, 'int4', { cacheDir })).resolves.toEqual(repaired);
  });

  it('makes one entry for many calls at once', async () => {
    const all = await Promise.all([1, 2, 3, 4].map(() => ensureExport(checkpoint, 'int4', { cacheDir })));
    expect(new Set(all.map(({ directory }) => directory)).size).toBe(1);
    expect(readdirSync(cacheDir)).toHaveLength(1);
  });

  it('is where AVOCADO_CACHE says, otherwise under XDG_CACHE_HOME', async () => {
    vi.stubEnv('AVOCADO_CACHE', '');
    vi.stubEnv('XDG_CACHE_HOME', join(scratch, 'xdg'));
    expect((await ensureExport(checkpoint, 'fp32')).directory).toContain(join(scratch, 'xdg', 'avocado-captioner'));
    vi.stubEnv('AVOCADO_CACHE', join(scratch, 'own'));
    expect((await ensureExport(checkpoint, 'fp32')).directory).toContain(join(scratch, 'own'));
  });

  it('is not used for a directory that is an export itself', async () => {
    const own = join(scratch, 'own-export');
    await exportModel(checkpoint, 'int4', own);
    expect((await ensureExport(own, undefined, { cacheDir })).directory).toBe(own);
    expect(readdirSync(scratch)).not.toContain('deep');
  });
});
