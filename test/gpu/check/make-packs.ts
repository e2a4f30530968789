// npm run gpu:check: two folders to carry to a machine that has a card, but neither Node nor a network. Each is smaller
// than 64 MiB. .gpu/pack-runtime has onnxruntime and its CUDA provider, .gpu/pack-check has Node and this program.
// What third parties made is fetched and carried, never committed.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { fetchProvider, GPU_FOLDER } from '../provider.ts';
import { SAMPLES } from './captions.ts';
import { pruneFatbin } from './prune-fatbin.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const NANO = 'models/avocado-nano';
const NANO_FILES = ['config.json', 'model.safetensors', 'preprocessor_config.json', 'tokenizer.json'];
const SAMPLE_REQUESTS = join(ROOT, 'test/gpu/check/sample-requests.ts');
const PROGRAM = join(ROOT, 'test/gpu/check/run-check.ts');
/** H100 and H200. */
const ARCHITECTURE = 90;
const MOST_BYTES = 64 * 2 ** 20;

/** npm packages that the program imports on the card: they are carried as they are. */
export const CARRIED_PACKAGES: readonly string[] = ['piscina', 'typebox'];

/** A static import of values, or an export from elsewhere. */
const IMPORT = /^(?:import|export)\s(?!type\b)(?:[\w*\s{},]*?\sfrom\s+)?['"]([^'"]+)['"];/gm;

/** Names of the packages that a source file and all it imports need, but types. */
export function importedPackages(entry = PROGRAM): Set<string> {
  const packages = new Set<string>();
  const seen = new Set<string>();
  const waiting = [entry];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    for (const [, name = ''] of readFileSync(path, 'utf8').matchAll(IMPORT)) {
      if (name.startsWith('.')) waiting.push(resolve(dirname(path), name));
      else if (!name.startsWith('node:'))
        packages.add(
          name
            .split('/')
            .slice(0, name.startsWith('@') ? 2 : 1)
            .join('/'),
        );
    }
  }
  return packages;
}

function bytesBelow(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}

function xz(source: string, target: string, ...options: string[]): void {
  execFileSync('sh', ['-c', 'xz -T0 "$@" -c "$source" >"$target"', 'xz', ...options], {
    env: { ...process.env, source, target },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
}

function script(name: string, folder: string): void {
  copyFileSync(fileURLToPath(new URL(name, import.meta.url)), join(folder, name));
  chmodSync(join(folder, name), 0o755);
}

/** Kept between calls: it holds nothing of this project but the script. */
function makeRuntimePack(pack: string, temporary: string): void {
  mkdirSync(pack, { recursive: true });
  script('card-runtime.sh', pack);
  if (existsSync(join(pack, 'complete'))) return;
  const provider = fetchProvider();
  const library = readFileSync(join(provider, 'libonnxruntime_providers_cuda.so'));
  pruneFatbin(library, ARCHITECTURE);
  const pruned = join(temporary, 'pruned.so');
  writeFileSync(pruned, library);
  xz(pruned, join(pack, 'libonnxruntime_providers_cuda.so.xz'), '--x86', '--lzma2=preset=9');
  xz(join(provider, 'libonnxruntime.so.1'), join(pack, 'libonnxruntime.so.1.xz'));
  copyFileSync(join(provider, 'libonnxruntime_providers_shared.so'), join(pack, 'libonnxruntime_providers_shared.so'));
  writeFileSync(join(pack, 'complete'), '');
}

/** The program as JavaScript, with the addon, the packages it imports and the small checkpoints. */
function makeProgram(folder: string): void {
  const options = { noEmit: false, outDir: folder, rootDir: ROOT, sourceMap: false };
  const project = join(GPU_FOLDER, 'tsconfig.json');
  writeFileSync(
    project,
    JSON.stringify({ extends: join(ROOT, 'tsconfig.json'), compilerOptions: options, include: [], files: [PROGRAM] }),
  );
  execFileSync(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', project], { stdio: 'inherit' });
  copyFileSync(join(ROOT, 'package.json'), join(folder, 'package.json'));
  const script = 'test/gpu/check/transformers_speed.py';
  copyFileSync(join(ROOT, script), join(folder, script));
  cpSync(join(ROOT, 'native/build/avocado.node'), join(folder, 'native/build/avocado.node'));
  for (const name of CARRIED_PACKAGES)
    cpSync(join(ROOT, 'node_modules', name), join(folder, 'node_modules', name), {
      recursive: true,
      dereference: true,
    });
  const checkpoints = 'test/fixtures/golden/checkpoints';
  cpSync(join(ROOT, checkpoints), join(folder, checkpoints), { recursive: true, dereference: true });
  for (const file of NANO_FILES) cpSync(join(ROOT, NANO, file), join(folder, NANO, file));
  // In a process of its own: it changes the engine.
  execFileSync(process.execPath, [...process.execArgv, SAMPLE_REQUESTS, join(folder, checkpoints, '..', SAMPLES)], {
    stdio: 'inherit',
  });
}

function commit(): string {
  const git = (...args: string[]) => execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' }).trim();
  return git('rev-parse', 'HEAD') + (git('status', '--porcelain') === '' ? '' : ' and changes');
}

function makeCheckPack(pack: string, temporary: string): void {
  mkdirSync(pack, { recursive: true });
  script('card-check.sh', pack);
  const node = join(pack, 'node.xz');
  if (!existsSync(node)) xz(process.execPath, node);
  const program = join(temporary, 'program');
  mkdirSync(program);
  makeProgram(program);
  execFileSync('tar', ['-C', program, '-cJf', join(pack, 'program.tar.xz'), '.']);
  writeFileSync(join(pack, 'commit'), commit());
}

function main(): void {
  const temporary = mkdtempSync(join(tmpdir(), 'avocado-packs-'));
  try {
    for (const [name, make] of [
      ['pack-runtime', makeRuntimePack],
      ['pack-check', makeCheckPack],
    ] as const) {
      const pack = join(GPU_FOLDER, name);
      make(pack, temporary);
      const bytes = bytesBelow(pack);
      console.log(`${pack}: ${(bytes / 2 ** 20).toFixed(1)} MiB`);
      if (bytes >= MOST_BYTES) throw new Error(`${name} is larger than ${MOST_BYTES / 2 ** 20} MiB.`);
    }
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
  console.log(`
Carry both folders to the machine with the card (CUDA 13, cuDNN 9, python3). There:
  bash pack-runtime/card-runtime.sh     # a minute; stops and says what is missing
  OUT=. bash pack-check/card-check.sh   # nine minutes; writes $OUT/gpu-check.json
Here again, with that file:
  npm run gpu:result -- gpu-check.json`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
