// onnxruntime with its CUDA provider, for the stub's tests and for the check on a card: npm packages of third parties,
// fetched into the ignored folder .gpu and never committed. `tsx test/gpu/provider.ts` fetches them.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

/** Everything that is fetched or built for a GPU. git ignores it. */
export const GPU_FOLDER = fileURLToPath(new URL('../../.gpu', import.meta.url));

/**
 * The pair that is tested. Host and provider must be of one release. onnxruntime-node's own download is a provider for
 * CUDA 12; the only one for CUDA 13 on npm is in a package for Unity. Its own libonnxruntime.so cannot load it: it was
 * built without the bridge, and onnxruntime-node's was built with it.
 */
export const ONNXRUNTIME_VERSION = '1.29.0';

interface Package {
  readonly spec: string;
  /** sha512 of the package, base64 */
  readonly integrity: string;
  /** path in the package → name in the provider's folder */
  readonly files: Readonly<Record<string, string>>;
}

const UNITY = 'package/Plugins/Linux/x64';
const PACKAGES: readonly Package[] = [
  {
    spec: `onnxruntime-node@${ONNXRUNTIME_VERSION}`,
    integrity: 'WjiVVB72riILz8HbYvxvmjKyE/WmkYoSfKY++axo5jAR609HQg8MwiG/HhShpTcJfmmAdzxxmB+MMST3A+SiPA==',
    files: { 'package/bin/napi-v6/linux/x64/libonnxruntime.so.1': 'libonnxruntime.so.1' },
  },
  {
    spec: 'com.github.asus4.onnxruntime.linux-x64-gpu@0.4.9',
    integrity: 'FopIhNE/Ng+v2X65wVc9clPCBCvhvA53Hxo2U0Kf5fGdVsC7iCA+mZ0KLWggcQAj7TIZ6pNidR4AC10g74Xo6w==',
    files: {
      [`${UNITY}/libonnxruntime_providers_shared.so`]: 'libonnxruntime_providers_shared.so',
      [`${UNITY}/libonnxruntime_providers_cuda.so`]: 'libonnxruntime_providers_cuda.so',
    },
  },
];

/** The folder of libonnxruntime.so.1 and its providers; undefined when it was not fetched. */
export function cachedProvider(): string | undefined {
  const folder = join(GPU_FOLDER, `onnxruntime-${ONNXRUNTIME_VERSION}`);
  return existsSync(join(folder, 'complete')) ? folder : undefined;
}

/** Fetches about 290 MB, once. @throws Error with the reason when a package cannot be had or is another one */
export function fetchProvider(): string {
  const cached = cachedProvider();
  if (cached !== undefined) return cached;
  if (process.platform !== 'linux' || process.arch !== 'x64') throw new Error('The provider is for Linux on x64.');
  mkdirSync(GPU_FOLDER, { recursive: true });
  const staged = mkdtempSync(join(GPU_FOLDER, 'fetching-'));
  try {
    for (const source of PACKAGES) fetchPackage(source, staged);
    writeFileSync(join(staged, 'complete'), PACKAGES.map(({ spec }) => `${spec}\n`).join(''));
    const folder = join(GPU_FOLDER, `onnxruntime-${ONNXRUNTIME_VERSION}`);
    rmSync(folder, { recursive: true, force: true });
    renameSync(staged, folder);
    return folder;
  } finally {
    rmSync(staged, { recursive: true, force: true });
  }
}

function fetchPackage({ spec, integrity, files }: Package, folder: string): void {
  process.stderr.write(`gpu: fetching ${spec} …\n`);
  const packed = spawnSync('npm', ['pack', spec, '--json', '--silent', '--pack-destination', folder], {
    encoding: 'utf8',
  });
  if (packed.status !== 0)
    throw new Error(`npm does not give ${spec}: ${packed.stderr.trim() || packed.stdout.trim()}`);
  const [entry] = JSON.parse(packed.stdout) as { filename: string }[];
  const archive = join(folder, entry?.filename ?? '');
  const found = createHash('sha512').update(readFileSync(archive)).digest('base64');
  if (found !== integrity) throw new Error(`${spec} is not the package that is known: its sha512 is ${found}.`);
  execFileSync('tar', ['xzf', archive, '-C', folder, ...Object.keys(files)]);
  for (const [path, name] of Object.entries(files)) copyFileSync(join(folder, path), join(folder, name));
  rmSync(join(folder, 'package'), { recursive: true });
  rmSync(archive);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    process.stderr.write(`gpu: onnxruntime and its CUDA provider are in ${fetchProvider()}.\n`);
  } catch (error) {
    // The tests that need it say that it is missing. Those on a real card may have one of their own.
    process.stderr.write(`gpu: ${error instanceof Error ? error.message : String(error)}\n`);
    if (process.argv.includes('--strict')) process.exitCode = 1;
  }
}
