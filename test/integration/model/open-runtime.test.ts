import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { missingLibraries } from '../../../src/model/runtime/describe-runtime.ts';
import { describeRuntime, findGpus } from '../../../src/model/runtime/describe-runtime.ts';
import { onnxruntimeLibrary } from '../../../src/model/runtime/describe-runtime.ts';
import { openRuntime } from '../../../src/model/runtime/open-runtime.ts';
import { nativeStatus } from '../../../src/base/native.ts';

const CPU = { type: 'cpu' } as const;
const CUDA = { type: 'cuda', index: 0 } as const;

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('openRuntime', () => {
  it('opens the native runtime if the addon is built, otherwise the portable one', async () => {
    const runtime = await openRuntime({ runtime: undefined, device: CPU });
    expect(runtime.name).toBe(nativeStatus().loaded ? 'native' : 'node');
    await runtime.close();
  });

  it('refuses CUDA on the portable runtime', async () => {
    await expect(openRuntime({ runtime: 'node', device: CUDA })).rejects.toMatchObject({
      code: 'device_unavailable',
      param: 'device',
    });
  });

  it('names the library that AVOCADO_ONNXRUNTIME points to when it is not there', async () => {
    vi.stubEnv('AVOCADO_ONNXRUNTIME', '/nowhere/libonnxruntime.so.1');
    const facts = await describeRuntime();
    expect(facts.runtime).toBe('node');
    expect(facts.onnxruntime.problem).toContain('/nowhere/libonnxruntime.so.1');
    if (nativeStatus().loaded)
      await expect(openRuntime({ runtime: 'native', device: CPU })).rejects.toMatchObject({
        code: 'runtime_unavailable',
      });
    else console.warn('Skipped: openRuntime with a wrong AVOCADO_ONNXRUNTIME. The native addon is not built.');
  });

  it('says what CUDA needs and how to install it, or opens it', async () => {
    const { cuda, addon } = await describeRuntime();
    if (cuda?.complete === true && addon.loaded) {
      const runtime = await openRuntime({ runtime: undefined, device: CUDA });
      expect(runtime.name).toBe('native');
      return;
    }
    const thrown = await openRuntime({ runtime: undefined, device: CUDA }).then(
      () => undefined,
      (error: unknown) => error as Error & { code: string },
    );
    expect(thrown?.code).toBe(addon.loaded ? 'device_unavailable' : 'runtime_unavailable');
    for (const name of addon.loaded ? (cuda?.missing ?? []) : []) expect(thrown?.message).toContain(name);
    expect(thrown?.message).toMatch(/LD_LIBRARY_PATH|npm rebuild|build-native/);
  });
});

describe('describeRuntime', () => {
  it('reports the library, the addon and the GPUs without throwing', async () => {
    const facts = await describeRuntime();
    expect(facts.onnxruntime.path).toBe(onnxruntimeLibrary());
    expect(facts.addon).toEqual(nativeStatus());
    if (facts.addon.loaded) expect(facts.onnxruntime.version).toMatch(/^1\.\d+\.\d+/);
    expect(Array.isArray(facts.gpus)).toBe(true);
  });
});

describe('findGpus', () => {
  it("reads the models from the driver's files", async () => {
    const driver = mkdtempSync(join(tmpdir(), 'avocado-driver-'));
    try {
      for (const [card, model] of [
        ['0000:01:00.0', 'NVIDIA H200'],
        ['0000:02:00.0', 'NVIDIA L4'],
      ] as const) {
        mkdirSync(join(driver, card));
        writeFileSync(join(driver, card, 'information'), `Model: \t\t ${model}\nIRQ:   \t\t 77\n`);
      }
      expect(await findGpus(driver)).toEqual(['NVIDIA H200', 'NVIDIA L4']);
    } finally {
      rmSync(driver, { recursive: true });
    }
  });
});

describe('missingLibraries', () => {
  it('reads the unresolved names from what ldd prints', () => {
    const output = [
      '\tlinux-vdso.so.1 (0x00007ffd)',
      '\tlibcudnn.so.9 => not found',
      '\tlibc.so.6 => /lib/libc.so.6 (0x00007f)',
      '\tlibcublas.so.12 => not found\n',
    ].join('\n');
    expect(missingLibraries(output)).toEqual(['libcudnn.so.9', 'libcublas.so.12']);
  });
});
