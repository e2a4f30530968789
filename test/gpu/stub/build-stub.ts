// Builds the libraries of CUDA that the provider links to, as stubs, with the machine's C++ compiler and binutils.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { neededLibraries } from '../../../src/model/runtime/elf.ts';
import { GPU_FOLDER } from '../provider.ts';

const SOURCES = ['cuda-stub.cc', 'cudnn-stub.cc', 'cuda-pages-stub.cc'].map((name) =>
  fileURLToPath(new URL(name, import.meta.url)),
);
const FLAGS = ['-std=c++17', '-O1', '-fPIC', '-shared', '-Wall', '-Wextra'];
const CUDNN = 'libcudnn.so.9';

export interface Stub {
  /** for LD_LIBRARY_PATH: CUDA as the provider links to it */
  readonly cuda: string;
  /** for LD_LIBRARY_PATH: cuDNN, which the provider opens when it needs it */
  readonly cudnn: string;
}

/** Names that the provider links to, by the library that has them. */
function wantedSymbols(provider: string): Map<string, string[]> {
  const wanted = new Map<string, string[]>();
  const listed = execFileSync('nm', ['-D', '--undefined-only', provider], { encoding: 'utf8', maxBuffer: 2 ** 26 });
  for (const [, name = '', library = ''] of listed.matchAll(/ U (\w+)@(lib(?:cu|nv)\w*\.so\.\d+)$/gm))
    wanted.set(library, [...(wanted.get(library) ?? []), name]);
  return wanted;
}

/** A library that has its symbols under the names of several, as the dynamic loader checks them. */
function versionScript(wanted: ReadonlyMap<string, readonly string[]>): string {
  return [...wanted].map(([library, names]) => `${library} { global: ${names.join('; ')}; };`).join('\n');
}

/** Names that the provider looks for in cuDNN, once it has opened it. */
function cudnnNames(provider: string): string[] {
  const texts = execFileSync('strings', ['-n', '8', provider], { encoding: 'utf8', maxBuffer: 2 ** 28 });
  return [...new Set([...texts.matchAll(/^cudnn[A-Z]\w+$/gm)].map(([name]) => name))];
}

/** Functions that succeed. What creates something gives a handle. */
function succeeding(names: readonly string[]): string {
  const functions = names.map((name) =>
    /^cudnnCreate/.test(name)
      ? `int ${name}(void** handle) { *handle = calloc(1, 256); return 0; }`
      : `int ${name}() { return 0; }`,
  );
  return `#include <cstdlib>\nextern "C" {\n${functions.join('\n')}\n}\n`;
}

function definedIn(source: string): Set<string> {
  return new Set([...readFileSync(source, 'utf8').matchAll(/\b((?:__)?cu\w+)\(/g)].map(([, name = '']) => name));
}

/**
 * Compiles the stub of a provider, once for each state of the sources.
 * @throws Error when there is no compiler
 */
export function buildStub(provider: string): Stub {
  const library = join(provider, 'libonnxruntime_providers_cuda.so');
  const hash = createHash('sha256');
  for (const path of [...SOURCES, fileURLToPath(import.meta.url)]) hash.update(readFileSync(path));
  const folder = join(GPU_FOLDER, `stub-${hash.digest('hex').slice(0, 12)}`);
  const stub = { cuda: join(folder, 'cuda'), cudnn: join(folder, 'cudnn') };
  if (existsSync(folder)) return stub;
  const staged = mkdtempSync(join(GPU_FOLDER, 'building-'));
  try {
    compile(library, staged);
    renameSync(staged, folder);
  } finally {
    rmSync(staged, { recursive: true, force: true });
  }
  return stub;
}

function compile(library: string, folder: string): void {
  const [cudaSource = '', cudnnSource = '', pagesSource = ''] = SOURCES;
  for (const name of ['cuda', 'cudnn']) mkdirSync(join(folder, name));
  const wanted = wantedSymbols(library);
  const defined = new Set([cudaSource, pagesSource].flatMap((source) => [...definedIn(source)]));
  const cudaRest = [...wanted.values()].flat().filter((name) => !defined.has(name));
  const cudnnRest = cudnnNames(library).filter((name) => !definedIn(cudnnSource).has(name));
  const rest = { cuda: join(folder, 'cuda-rest.cc'), cudnn: join(folder, 'cudnn-rest.cc') };
  writeFileSync(rest.cuda, succeeding(cudaRest));
  writeFileSync(rest.cudnn, succeeding(cudnnRest));
  const versions = join(folder, 'versions');
  writeFileSync(versions, versionScript(wanted));
  const all = join(folder, 'cuda', 'libcuda-stub.so');
  const cxx = process.env['CXX'] ?? 'g++';
  execFileSync(cxx, [
    ...FLAGS,
    cudaSource,
    pagesSource,
    rest.cuda,
    '-o',
    all,
    `-Wl,--version-script=${versions}`,
    '-ldl',
  ]);
  // One library under the names of all: the loader sees that they are the same file.
  const names = neededLibraries(library).filter((name) => /^lib(cu|nv)/.test(name));
  for (const name of names) symlinkSync('libcuda-stub.so', join(folder, 'cuda', name));
  // It uses the log of the other one.
  execFileSync(cxx, [
    ...FLAGS,
    cudnnSource,
    rest.cudnn,
    '-o',
    join(folder, 'cudnn', CUDNN),
    '-L',
    join(folder, 'cuda'),
    '-l:libcudart.so.13',
  ]);
}
