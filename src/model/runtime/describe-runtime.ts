import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { declineOnnxruntimeTelemetry } from '../../base/env.ts';
import { loadNative, nativeStatus } from '../../base/native.ts';
import type { NativeStatus } from '../../base/native.ts';
import { findCudaLibraries } from './cuda-libraries.ts';
import type { CudaLibraries } from './cuda-libraries.ts';
import { onnxruntimeLibrary } from './onnxruntime-library.ts';

export interface RuntimeFacts {
  /** what openRuntime takes when nothing is asked for */
  readonly runtime: 'native' | 'node';
  readonly addon: NativeStatus;
  /** the library the native runtime loads; `version` needs the addon, `problem` says why there is none */
  readonly onnxruntime: {
    readonly path: string | undefined;
    readonly version: string | undefined;
    readonly problem: string | undefined;
  };
  readonly cuda: CudaLibraries | undefined;
  /** names of the NVIDIA GPUs that the driver shows */
  readonly gpus: readonly string[];
}

/** What `avocado doctor` says about the runtime. Never throws: what is missing is the answer. */
export async function describeRuntime(): Promise<RuntimeFacts> {
  const addon = nativeStatus();
  const onnxruntime = describeLibrary();
  const cuda = onnxruntime.path === undefined ? undefined : await findCudaLibraries(onnxruntime.path);
  const runtime = addon.loaded && onnxruntime.problem === undefined ? 'native' : 'node';
  return { runtime, addon, onnxruntime, cuda, gpus: await findGpus() };
}

function describeLibrary(): RuntimeFacts['onnxruntime'] {
  let path: string | undefined;
  try {
    declineOnnxruntimeTelemetry();
    path = onnxruntimeLibrary();
    return { path, version: loadNative()?.loadOnnxRuntime(path), problem: undefined };
  } catch (error) {
    return { path, version: undefined, problem: error instanceof Error ? error.message : String(error) };
  }
}

/** Model names, one per GPU: from the driver's files, or from nvidia-smi where a container hides those. */
export async function findGpus(driver = '/proc/driver/nvidia/gpus'): Promise<string[]> {
  try {
    const cards = (await readdir(driver)).sort();
    const texts = await Promise.all(cards.map((card) => readFile(join(driver, card, 'information'), 'utf8')));
    return texts.map((text) => /^Model:\s*(.+)$/m.exec(text)?.[1]?.trim() ?? 'NVIDIA GPU');
  } catch {
    return askNvidiaSmi();
  }
}

async function askNvidiaSmi(): Promise<string[]> {
  try {
    const { stdout } = await promisify(execFile)('nvidia-smi', ['--query-gpu=name', '--format=csv,noheader'], {
      timeout: 10_000,
    });
    return stdout
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '');
  } catch {
    return [];
  }
}
