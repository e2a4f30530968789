// Which runtime libraries this machine has: libonnxruntime, its CUDA provider, GPUs.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { declineOnnxruntimeTelemetry, libraryPath, nonEmptyVariable } from '../../base/env.ts';
import { AvocadoError } from '../../base/errors.ts';
import { loadNative, nativeStatus, type NativeStatus } from '../../base/native.ts';
import { neededLibraries } from './elf.ts';

/**
 * Absolute path of the libonnxruntime that the native runtime loads: the file that AVOCADO_ONNXRUNTIME names, such as a
 * CUDA build with its provider libraries in the same folder, or the one that onnxruntime-node ships.
 * @throws AvocadoError `runtime_unavailable`
 */
export function onnxruntimeLibrary(): string {
  const override = nonEmptyVariable('AVOCADO_ONNXRUNTIME');
  const path = override ?? shippedLibrary();
  if (existsSync(path)) return path;
  const correct = 'Set AVOCADO_ONNXRUNTIME to the path of libonnxruntime.so.1, or unset it.';
  const advice = path === override ? correct : 'Install it again with `npm ci`.';
  throw new AvocadoError('runtime_unavailable', `There is no onnxruntime library at ${path}. ${advice}`);
}

function shippedLibrary(): string {
  // The package's entry is dist/index.js. The file name is Linux's, the only system the addon is built for.
  const root = join(dirname(createRequire(import.meta.url).resolve('onnxruntime-node')), '..');
  return join(root, 'bin', 'napi-v6', 'linux', process.arch, 'libonnxruntime.so.1');
}

/** The first one loads the second one. */
const PROVIDERS = ['libonnxruntime_providers_shared.so', 'libonnxruntime_providers_cuda.so'];

/** A provider of 1.29 or newer does not link to cuDNN: it opens it at the first node that needs it. */
const CUDNN = 'libcudnn.so.9';

export interface CudaLibraries {
  /** whether the provider can be loaded and has cuDNN */
  readonly complete: boolean;
  /** path of libonnxruntime_providers_cuda.so, whether it exists or not */
  readonly provider: string;
  /** major version of CUDA that the provider links to; undefined without a provider */
  readonly cudaMajor: number | undefined;
  /** file names that were not found */
  readonly missing: readonly string[];
  /** what to do; '' when complete */
  readonly advice: string;
}

/**
 * Looks for the CUDA provider in libonnxruntime's folder and for all it needs: what it links to, and cuDNN. Loads
 * nothing: it asks ldd and ldconfig, since only the dynamic loader knows all the places where it looks.
 */
export async function findCudaLibraries(library: string): Promise<CudaLibraries> {
  const folder = dirname(library);
  const provider = join(folder, 'libonnxruntime_providers_cuda.so');
  const absent = PROVIDERS.filter((name) => !existsSync(join(folder, name)));
  if (absent.length > 0) {
    return { complete: false, provider, cudaMajor: undefined, missing: absent, advice: PROVIDER_ADVICE };
  }
  const needed = neededLibraries(provider);
  const cudaMajor = majorOf(needed);
  const [unresolved, cudnn] = await Promise.all([unresolvedBy(provider, folder), hasCudnn(folder)]);
  const missing = [...new Set([...unresolved, ...(cudnn ? [] : [CUDNN])])];
  const complete = missing.length === 0;
  return { complete, provider, cudaMajor, missing, advice: complete ? '' : cudaAdvice(cudaMajor) };
}

/** 13 of a library that links to `libcudart.so.13`. */
export function majorOf(needed: readonly string[]): number | undefined {
  const version = needed.map((name) => /^lib(?:cudart|cublas)\.so\.(\d+)$/.exec(name)?.[1]).find(Boolean);
  return version === undefined ? undefined : Number(version);
}

const PROVIDER_ADVICE =
  'Set AVOCADO_ONNXRUNTIME to the libonnxruntime.so of a CUDA build (1.22 or newer) that has its provider libraries of ' +
  'the same release beside it, or run `ONNXRUNTIME_NODE_INSTALL=cuda12 npm rebuild onnxruntime-node ' +
  '--ignore-scripts=false`, which fetches a provider for CUDA 12. `avocado doctor` then says which libraries of NVIDIA ' +
  'it needs.';

/** How to get the libraries of one major version, with the folder that pip puts them in. */
export function cudaAdvice(major: number | undefined): string {
  const version = major ?? 13;
  const packages =
    version >= 13
      ? `'nvidia-cublas==${version}.*' 'nvidia-cuda-runtime==${version}.*' nvidia-curand nvidia-cudnn-cu${version}`
      : ['cublas', 'cuda-runtime', 'curand', 'cufft', 'cudnn'].map((name) => `nvidia-${name}-cu${version}`).join(' ');
  return (
    `The provider is built for CUDA ${version}. Install CUDA ${version} and cuDNN 9: a base image such as nvidia/cuda:` +
    `${version}…-cudnn-runtime has both, or \`pip install ${packages}\` puts them below site-packages/nvidia; then add ` +
    'their folders to LD_LIBRARY_PATH.'
  );
}

async function unresolvedBy(provider: string, folder: string): Promise<string[]> {
  try {
    const { stdout } = await promisify(execFile)('ldd', [provider], { timeout: 20_000 });
    // Libraries in the same folder are loaded before the provider, which ldd cannot know.
    return missingLibraries(stdout).filter((name) => !existsSync(join(folder, name)));
  } catch {
    // No ldd in a minimal image: then onnxruntime's own error will say what does not load.
    return [];
  }
}

/** The names that ldd could not resolve: lines such as `libcudnn.so.9 => not found`. */
export function missingLibraries(lddOutput: string): string[] {
  return [...lddOutput.matchAll(/^\s*(\S+) => not found/gm)].flatMap(([, name]) => (name === undefined ? [] : [name]));
}

/** Where the dynamic loader looks for a library that is opened by its name. */
async function hasCudnn(folder: string): Promise<boolean> {
  const folders = [folder, ...libraryPath(), ...SYSTEM_FOLDERS];
  if (folders.some((place) => existsSync(join(place, CUDNN)))) return true;
  // Not on everybody's PATH.
  for (const program of ['/sbin/ldconfig', 'ldconfig']) {
    try {
      const { stdout } = await promisify(execFile)(program, ['-p'], { timeout: 20_000 });
      return stdout.includes(`${CUDNN} `);
    } catch {
      continue;
    }
  }
  // No ldconfig: what is not in the usual places may still be found, so only the first picture can show it.
  return true;
}

const SYSTEM_FOLDERS = [
  '/lib/x86_64-linux-gnu',
  '/usr/lib/x86_64-linux-gnu',
  '/lib64',
  '/usr/lib64',
  '/lib',
  '/usr/lib',
];

export interface RuntimeFacts {
  /** what openRuntime opens by default */
  readonly runtime: 'native' | 'node';
  readonly addon: NativeStatus;
  /** the library that the native runtime loads; `version` needs the addon, `problem` says why it cannot be used */
  readonly onnxruntime: {
    readonly path: string | undefined;
    readonly version: string | undefined;
    readonly problem: string | undefined;
  };
  readonly cuda: CudaLibraries | undefined;
  /** names of the NVIDIA GPUs that the driver reports */
  readonly gpus: readonly string[];
}

/** What `avocado doctor` reports about the runtime. Never throws: a missing library is part of the report. */
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

/** Model names, one per GPU: from the driver's files, or from nvidia-smi if a container hides those. */
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
