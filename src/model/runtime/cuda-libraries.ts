// Which part of onnxruntime's CUDA provider is on this machine. Asks the dynamic loader (ldd), since only it knows all
// the places where it looks.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

/** What onnxruntime 1.2x's CUDA 12 provider links to; named when the provider itself is not there to ask. */
const CUDA_12 = [
  'libcudart.so.12',
  'libcublas.so.12',
  'libcublasLt.so.12',
  'libcufft.so.11',
  'libcurand.so.10',
  'libcudnn.so.9',
];

/** The second is loaded through the first. */
const PROVIDERS = ['libonnxruntime_providers_shared.so', 'libonnxruntime_providers_cuda.so'];

export interface CudaLibraries {
  /** whether the provider can be loaded */
  readonly complete: boolean;
  /** libonnxruntime_providers_cuda.so, there or not */
  readonly provider: string;
  /** file names that are not found */
  readonly missing: readonly string[];
  /** what to do; '' when complete */
  readonly advice: string;
}

/** Looks for the CUDA provider beside libonnxruntime and for everything it needs. Loads nothing. */
export async function findCudaLibraries(library: string): Promise<CudaLibraries> {
  const folder = dirname(library);
  const provider = join(folder, 'libonnxruntime_providers_cuda.so');
  const absent = PROVIDERS.filter((name) => !existsSync(join(folder, name)));
  if (absent.length > 0) return { complete: false, provider, missing: absent, advice: PROVIDER_ADVICE };
  const missing = await unresolvedBy(provider, folder);
  return { complete: missing.length === 0, provider, missing, advice: missing.length === 0 ? '' : CUDA_ADVICE };
}

const PROVIDER_ADVICE =
  'Run `ONNXRUNTIME_NODE_INSTALL=cuda12 npm rebuild onnxruntime-node --ignore-scripts=false`, or set ' +
  'AVOCADO_ONNXRUNTIME to the libonnxruntime.so of a CUDA build (1.22 or newer) with its provider libraries beside it. ' +
  'It also needs CUDA 12 and cuDNN 9 ' +
  `(${CUDA_12.join(', ')}).`;
const CUDA_ADVICE =
  'Install CUDA 12 and cuDNN 9 (the base images nvidia/cuda:12…-cudnn-runtime have both), or add their folder to ' +
  'LD_LIBRARY_PATH.';

async function unresolvedBy(provider: string, folder: string): Promise<string[]> {
  try {
    const { stdout } = await promisify(execFile)('ldd', [provider], { timeout: 20_000 });
    // The provider is loaded after its neighbours in the same folder, which ldd cannot know.
    return missingLibraries(stdout).filter((name) => !existsSync(join(folder, name)));
  } catch {
    // No ldd (a minimal image): onnxruntime itself will say what does not load.
    return [];
  }
}

/** The names that ldd could not resolve: lines such as `libcudnn.so.9 => not found`. */
export function missingLibraries(lddOutput: string): string[] {
  return [...lddOutput.matchAll(/^\s*(\S+) => not found/gm)].flatMap(([, name]) => (name === undefined ? [] : [name]));
}
