import { execFileSync } from 'node:child_process';
import process from 'node:process';
import { describe, expect, it } from 'vitest';
import { cudaAdvice, majorOf } from '../../../../src/model/runtime/describe-runtime.ts';
import { allocationError, loadError, runError } from '../../../../src/model/runtime/device-errors.ts';
import { neededLibraries } from '../../../../src/model/runtime/elf.ts';

const CUDA = { type: 'cuda', index: 1 } as const;
const FAILURE = 'CUDA failure 700: an illegal memory access was encountered ; GPU=1 ; hostname=box ; expr=cudaStream…';

describe('errors of a device, told by their words', () => {
  it.each([
    ['Failed to load library libonnxruntime_providers_cuda.so with error: libcudnn.so.9: cannot open', 'doctor'],
    ['CUDA execution provider is not enabled in this build. ', 'doctor'],
    ['cuDNN is unavailable or disabled for CUDA Execution Provider: dlopen failed for libcudnn.so', 'doctor'],
    ['CUDA failure 101: invalid device ordinal', 'doctor'],
    ['CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version', 'doctor'],
    ['CUDA failure 2: out of memory', '--slots'],
    ['bfc_arena.cc:376 Failed to allocate memory for requested buffer of size 1048576', '--slots'],
  ])('a session that ends with %s', (message, advice) => {
    const error = loadError(CUDA, message);
    expect(error).toMatchObject({ code: 'device_unavailable', message: expect.stringContaining(advice) as string });
    expect(error.message).toContain(message.trim());
  });

  it('a session on a device that is not there', () => {
    const message = 'Parse Failed: Invalid device ID: 0, must be between 0 (inclusive) and 0 (exclusive).';
    expect(loadError(CUDA, message)).toMatchObject({
      code: 'device_unavailable',
      param: 'device',
      message: expect.stringMatching(/CUDA device \d cannot be used: there is no such device; CUDA shows 0/) as string,
    });
  });

  it('a session whose graph is at fault, and any on the CPU', () => {
    expect(loadError(CUDA, 'Load model failed: protobuf parsing failed.').code).toBe('engine_error');
    expect(loadError({ type: 'cpu' }, 'out of memory').code).toBe('engine_error');
  });

  it.each([
    [FAILURE, 'device_unavailable', 'until it is started again'],
    ['CUDA failure 719: unspecified launch failure', 'device_unavailable', 'until it is started again'],
    ['CUDA failure 214: uncorrectable ECC error encountered', 'device_unavailable', 'until it is started again'],
    ['cuDNN is unavailable or disabled for CUDA Execution Provider', 'device_unavailable', 'doctor'],
    ['Available memory of 1000 is smaller than requested bytes of 2000', 'engine_error', '--context'],
    ['CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED', 'engine_error', '--context'],
    ['Non-zero status code returned while running Add node.', 'engine_error', 'The run failed'],
  ])('a run that ends with %s', (message, code, advice) => {
    expect(runError(message)).toMatchObject({ code, message: expect.stringContaining(advice) as string });
  });

  it('a KV cache that does not fit', () => {
    const error = allocationError(CUDA, 'Allocating 9 bytes on CUDA device 1 failed: out of memory.', undefined);
    expect(error).toMatchObject({ code: 'device_unavailable', message: expect.stringContaining('--slots') as string });
  });
});

describe('what a library links to', () => {
  it('is read from its file as ldd tells it', () => {
    const needed = neededLibraries(process.execPath);
    expect(needed).toContain('libc.so.6');
    const told = execFileSync('ldd', [process.execPath], { encoding: 'utf8' });
    for (const name of needed) expect(told).toContain(name);
    expect(neededLibraries(import.meta.filename)).toEqual([]);
  });

  it('decides the major version of CUDA, and with it what is to be installed', () => {
    expect(majorOf(['libcublas.so.13', 'libcurand.so.10', 'libc.so.6'])).toBe(13);
    expect(majorOf(['libcurand.so.10', 'libcudart.so.12'])).toBe(12);
    expect(majorOf(['libc.so.6'])).toBeUndefined();
    expect(cudaAdvice(13)).toContain("pip install 'nvidia-cublas==13.*'");
    expect(cudaAdvice(13)).toContain('nvidia-cudnn-cu13');
    expect(cudaAdvice(12)).toContain('nvidia-cublas-cu12');
  });
});
