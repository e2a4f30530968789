// Builds native/build/avocado.node from native/*.cc with the machine's C++ compiler. Needs neither node-gyp nor a
// download of Node's headers. Never fails an install: without a compiler the portable runtime is used, which is slower.
// With `--strict` (container images, CI) every problem ends with exit code 1.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const NATIVE = fileURLToPath(new URL('../../native/', import.meta.url));
const BUILD = join(NATIVE, 'build');
const OUTPUT = join(BUILD, 'avocado.node');
const STAMP = join(BUILD, 'stamp');
// `--sanitize`: a build that stops at the first wrong access. The next ordinary build replaces it.
const SANITIZE = ['-O3', '-g', '-fno-omit-frame-pointer', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'];
const FLAGS = [
  ...(process.argv.includes('--sanitize') ? SANITIZE : ['-O3']),
  '-std=c++17',
  '-fPIC',
  '-fvisibility=hidden',
  '-pthread',
  '-Wall',
  '-Wextra',
  '-DNAPI_VERSION=8',
  '-DNODE_ADDON_API_CPP_EXCEPTIONS_ALL',
  '-DNODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
];

const strict = process.argv.includes('--strict');

function stopWithout(reason) {
  process.stderr.write(`native: ${reason}; the portable runtime will be used.\n`);
  process.exit(strict ? 1 : 0);
}

function findCompiler() {
  const candidates = [process.env['CXX'], 'g++', 'clang++', 'c++'].filter((name) => name !== undefined && name !== '');
  for (const name of candidates) {
    const result = spawnSync(name, ['--version'], { encoding: 'utf8' });
    if (result.status === 0) return { name, version: result.stdout.split('\n')[0] };
  }
  return undefined;
}

/** Folders of the header files, which come from npm packages. */
function includeFolders() {
  const require = createRequire(import.meta.url);
  try {
    return [dirname(require.resolve('node-addon-api/napi.h')), require('node-api-headers').include_dir];
  } catch {
    return undefined;
  }
}

function sourcesOf(folder) {
  return readdirSync(folder)
    .filter((name) => /\.(cc|h)$/.test(name))
    .sort();
}

/** Hash of everything the addon is built from, except the compiler. */
function sourcesHash(includes) {
  const hash = createHash('sha256');
  for (const name of sourcesOf(NATIVE)) hash.update(`${name}\0`).update(readFileSync(join(NATIVE, name)));
  return hash
    .update(JSON.stringify([FLAGS, process.arch]))
    .update(readFileSync(join(includes[0], 'package.json')))
    .digest('hex');
}

function readStamp() {
  return existsSync(OUTPUT) && existsSync(STAMP) ? readFileSync(STAMP, 'utf8') : '';
}

function compile(compiler, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(compiler.name, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let output = '';
    child.stderr.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve(undefined) : reject(new Error(output))));
  });
}

async function compileAll(compiler, includes, temporary) {
  const waiting = sourcesOf(NATIVE).filter((name) => name.endsWith('.cc'));
  const objects = waiting.map((name) => join(temporary, `${name}.o`));
  const flags = [...FLAGS, ...includes.flatMap((folder) => ['-isystem', folder])];
  const lane = async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      await compile(compiler, [...flags, '-c', join(NATIVE, name), '-o', join(temporary, `${name}.o`)]);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, lane));
  const linked = join(temporary, 'avocado.node');
  await compile(compiler, [...FLAGS, '-shared', ...objects, '-o', linked, '-ldl']);
  return linked;
}

async function build() {
  if (process.platform !== 'linux') return stopWithout(`the addon is for Linux, this is ${process.platform}`);
  const includes = includeFolders();
  if (includes === undefined) return stopWithout('node-addon-api and node-api-headers are not installed (npm ci)');
  const sources = sourcesHash(includes);
  const compiler = findCompiler();
  // An image may come with the addon, but without a compiler.
  if (compiler === undefined && readStamp().startsWith(`${sources} `)) return undefined;
  if (compiler === undefined) return stopWithout('no C++ compiler found (Debian or Ubuntu: apt-get install g++)');
  const wanted = `${sources} ${compiler.version}`;
  if (readStamp() === wanted) return undefined;
  mkdirSync(BUILD, { recursive: true });
  const temporary = mkdtempSync(join(BUILD, 'making-'));
  try {
    const linked = await compileAll(compiler, includes, temporary);
    // Running processes keep the file that they have mapped. New ones open the old or the new file, never an unfinished
    // one.
    renameSync(linked, OUTPUT);
    writeFileSync(STAMP, wanted);
    return undefined;
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
  return stopWithout('the addon did not compile (see above)');
}

await build();
