// Prepares a fresh clone: npm dependencies, ffmpeg, native addon, compiled code. Uses plain Node only, because it runs
// before any dependency is installed. A step is skipped when its result exists already.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const OLDEST_NODE = [20, 19];
const TSC = join(ROOT, 'node_modules/typescript/bin/tsc');
/** Compiled files that contain the package they import, because loading its many files is slow. */
const BUNDLED = ['dist/base/schema.js'];

/** Installs nothing: neither npm packages nor ffmpeg. */
const NO_INSTALL = '--no-install';
const NO_INSTALL_HINT = `${NO_INSTALL} and AVOCADO_NO_INSTALL=1`;
/** Before packages of the system are installed. */
const SECONDS_TO_STOP = 5;

function mayInstall() {
  return !process.argv.includes(NO_INSTALL) && ['', '0', undefined].includes(process.env['AVOCADO_NO_INSTALL']);
}

/** Blocks: nothing else runs here, and Ctrl-C still ends the process. */
function pause(seconds) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, seconds * 1000);
}

function say(text) {
  process.stderr.write(`set-up: ${text}\n`);
}

function fail(text) {
  say(text);
  process.exit(6);
}

/** Runs a command with its output on stderr, because stdout belongs to the program. Returns true when it succeeded. */
function run(command, args, env = {}) {
  const result = spawnSync(command, args, { cwd: ROOT, stdio: ['ignore', 2, 2], env: { ...process.env, ...env } });
  return result.status === 0;
}

function has(command, args) {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1])) return;
  const wanted = `Install Node ${OLDEST_NODE.join('.')} or newer and run the command again.`;
  fail(`Node ${process.versions.node} is too old. ${wanted}`);
}

function newestMtime(directory) {
  let newest = 0;
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    newest = Math.max(newest, entry.isDirectory() ? newestMtime(path) : statSync(path).mtimeMs);
  }
  return newest;
}

/** npm writes a lock file into node_modules after each install. Our lock file is newer only if it has changed since. */
function dependenciesAreInstalled() {
  const written = join(ROOT, 'node_modules/.package-lock.json');
  if (!existsSync(written) || !existsSync(join(ROOT, 'node_modules/typescript'))) return false;
  return statSync(written).mtimeMs >= statSync(join(ROOT, 'package-lock.json')).mtimeMs;
}

function installDependencies() {
  if (dependenciesAreInstalled()) return;
  if (!mayInstall()) fail('The npm dependencies are missing or older than package-lock.json. Run `npm ci` first.');
  say('installing npm dependencies (the CUDA download of onnxruntime-node is skipped) …');
  // Install scripts are skipped: the steps below build what they would build, with messages of their own.
  const args = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error', '--ignore-scripts'];
  if (!run('npm', args, { ONNXRUNTIME_NODE_INSTALL: 'skip' }))
    fail('npm ci failed (see above). Check the network and the registry setting of npm, then run the command again.');
}

function installFfmpeg() {
  const ffmpeg = process.env['FFMPEG_PATH'] ?? 'ffmpeg';
  const ffprobe = process.env['FFPROBE_PATH'] ?? 'ffprobe';
  if (has(ffmpeg, ['-version']) && has(ffprobe, ['-version'])) return;
  const prefix = process.getuid?.() === 0 ? [] : ['sudo', '-n'];
  const manual =
    'ffmpeg >= 5.1 is missing. Install it (Debian or Ubuntu: sudo apt-get install ffmpeg) or set FFMPEG_PATH and ' +
    'FFPROBE_PATH, then run the command again.';
  if (!mayInstall()) fail(manual);
  if (!has('apt-get', ['--version']) || (prefix.length > 0 && !has('sudo', ['-n', 'true']))) fail(manual);
  const command = [...prefix, 'apt-get', 'install', '-y', 'ffmpeg'].join(' ');
  say(
    `ffmpeg is missing. This runs \`${command}\` in ${SECONDS_TO_STOP} s; Ctrl-C stops it, ${NO_INSTALL_HINT} forbid it.`,
  );
  pause(SECONDS_TO_STOP);
  const apt = (...args) =>
    run(prefix[0] ?? 'apt-get', [...prefix.slice(1), ...(prefix.length > 0 ? ['apt-get'] : []), ...args], {
      DEBIAN_FRONTEND: 'noninteractive',
    });
  const install = () => apt('install', '-y', '-qq', '--no-install-recommends', 'ffmpeg');
  if (!install() && !(apt('update', '-qq') && install())) fail(manual);
}

function buildNative() {
  run(process.execPath, [join(ROOT, 'src/setup/build-native.mjs')]);
}

/** Removes what an earlier build made of sources that are gone. */
function removeOlder(directory, time) {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) removeOlder(path, time);
    else if (statSync(path).mtimeMs < time) rmSync(path);
  }
}

/** Puts what a compiled file imports into it. */
function bundle(file) {
  const { buildSync } = createRequire(import.meta.url)('esbuild');
  buildSync({
    entryPoints: [file],
    outfile: file,
    allowOverwrite: true,
    bundle: true,
    format: 'esm',
    platform: 'node',
  });
}

function compile() {
  const output = join(ROOT, 'dist/cli/main.js');
  const stamp = join(ROOT, 'dist/.built');
  if (existsSync(output) && !existsSync(TSC)) return; // an installed package: it contains dist
  if (existsSync(stamp) && statSync(stamp).mtimeMs >= newestMtime(join(ROOT, 'src'))) return;
  say('compiling …');
  const started = Date.now() - 1000; // some file systems keep whole seconds
  if (!run(process.execPath, [TSC, '-p', 'src'])) fail('The TypeScript build failed (see above).');
  for (const file of BUNDLED) bundle(join(ROOT, file));
  removeOlder(join(ROOT, 'dist'), started);
  writeFileSync(stamp, '');
}

/** Installs and builds everything. `npm start`, `npm test` and the `avocado` command run it first. */
export function setUp() {
  checkNode();
  if (existsSync(join(ROOT, 'package-lock.json'))) installDependencies();
  installFfmpeg();
  buildNative();
  compile();
}

/** Builds only, and installs nothing: for `npm run build` and `npm pack`. */
function build() {
  checkNode();
  if (!existsSync(TSC)) fail('The dependencies are not installed. Run `npm ci` first, then run the command again.');
  buildNative();
  compile();
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  if (process.argv.includes('--build-only')) build();
  else setUp();
}
