// A whole library with `avocado batch`: every entry ends in one state, the report adds up, a second run does nothing,
// and neither kill -9 nor a full disk loses anything. Then its throughput beside the bare engine on the same clips with
// an account of where the time goes, and a long listing. 0 leaves a part out. Usage:
// npx tsx test/bench/library.ts [--items N] [--kills N] [--full-disks N] [--compare N] [--rounds N] [--entries N]
// [--max-tokens N] [--slots N]
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { fsPath, pathText } from '../../src/batch/path-text.ts';
import type { ResultLine } from '../../src/batch/types.ts';
import { captionRequest } from '../../src/captioner/caption-options.ts';
import { openEngineProcess } from '../../src/engine-process/open-engine-process.ts';
import { sampleClip } from '../../src/lab/synthetic/sample-clip.ts';
import { engineSettings } from '../../src/settings/engine-settings.ts';
import { jsonLines, lineCount, put, variantOf } from '../fixtures/clip-library.ts';
import { engineOf } from '../fixtures/engine-processes.ts';
import { SeededRandom } from '../fixtures/seeded-random.ts';
import { makeSmallDisk, noSmallDisk } from '../fixtures/small-disk.ts';
import { median } from './median.ts';

const CLI = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
/** Clips that are really made; the others are these with other bytes behind them, which take as much work. */
const MADE = 12;

const { values } = parseArgs({
  options: {
    items: { type: 'string', default: '1000' },
    kills: { type: 'string', default: '50' },
    'full-disks': { type: 'string', default: '5' },
    compare: { type: 'string', default: '120' },
    rounds: { type: 'string', default: '3' },
    entries: { type: 'string', default: '1000000' },
    'max-tokens': { type: 'string', default: '64' },
    slots: { type: 'string', default: '4' },
  },
});
const items = Number(values.items);
const directory = await mkdtemp(join(tmpdir(), 'avocado-library-'));
const slots = ['--slots', values.slots];
const common = ['--max-tokens', values['max-tokens'], ...slots];
/** Where captions are counted and not timed, they are short. */
const brief = ['--max-tokens', '4', ...slots];
const never = new AbortController().signal;

interface ReportJson {
  readonly listed: number;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly wall_seconds: number;
  readonly media_seconds: number;
  readonly failures: Readonly<Record<string, number>>;
  readonly stage_seconds: Readonly<Record<string, number>>;
}

interface Started {
  readonly child: ChildProcess;
  readonly end: Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }>;
}

function start(args: readonly string[]): Started {
  const child = spawn(process.execPath, [CLI, 'batch', ...args, '--json'], { stdio: ['ignore', 'pipe', 'pipe'] });
  const text = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (piece: string) => (text.stdout += piece));
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (text.stderr += piece));
  return { child, end: once(child, 'close').then(([code]) => ({ code: code as number | null, ...text })) };
}

async function batch(...args: readonly string[]): Promise<{ readonly report: ReportJson; readonly seconds: number }> {
  const startedMs = performance.now();
  return { report: reportOf(await start(args).end), seconds: (performance.now() - startedMs) / 1000 };
}

function reportOf({ code, stdout, stderr }: Awaited<Started['end']>): ReportJson {
  if (stdout === '') throw new Error(`avocado batch ended with ${String(code)} and no report: ${stderr}`);
  return JSON.parse(stdout) as ReportJson;
}

function oddName(n: number): string {
  const odd = [
    `sp ace ${n}.mp4`,
    `quo'te"${n}.mp4`,
    `new\nline${n}.mp4`,
    pathText(Buffer.concat([Buffer.from(`caf${n}`), Buffer.from([0xe9, 0xff]), Buffer.from('.mp4')])),
    `${'d/'.repeat(200)}${n}.mp4`,
    `-${n}.mp4`,
    `🎈${n}.MP4`,
    `%41 $(x) ${n}.mp4`,
  ];
  return odd[n % odd.length] ?? '';
}

/** 3 % damaged, 2 % with the same bytes, 0.5 % unreadable, one in 40 without sound, one in ten with an odd name. */
async function makeLibrary(at: string, count: number): Promise<void> {
  const made: Buffer[] = [];
  for (let seed = 0; seed < Math.min(MADE, count); seed++) {
    const out = join(directory, 'made.mp4');
    await sampleClip({ seed, seconds: 3, sound: seed !== 0 }, out, never);
    made.push(readFileSync(out));
  }
  for (let n = 0; n < count; n++) {
    const clip = made[n % made.length] ?? Buffer.alloc(0);
    const name = n % 10 === 3 ? oddName(n) : `in/${n % 7}/${n}.mp4`;
    const path = join(at, name);
    if (n % 200 === 17) {
      await put(`${path}.dir`, Buffer.from('x'));
      await symlink('/nowhere/clip.mp4', fsPath(path)).catch(() => undefined);
    } else if (n % 100 >= 97) await put(path, damaged(variantOf(clip, String(n)), n));
    else if (n % 50 === 21) await put(path, variantOf(made[1] ?? clip, 'twin'));
    else await put(path, variantOf(clip, String(n)));
  }
}

function damaged(clip: Buffer, n: number): Buffer {
  if (n % 3 === 0) return clip.subarray(0, 2000);
  if (n % 3 === 1) return Buffer.from('This is no video.');
  return Buffer.concat([clip.subarray(0, 40), new Uint8Array(clip.length - 40).map((_, at) => (at * 31 + n) & 255)]);
}

function check(library: string, report: ReportJson, count = items): void {
  const sum = Object.values(report.outcomes).reduce((all, count) => all + count, 0);
  if (sum !== report.listed || report.listed !== count) throw new Error(`${sum} of ${count} entries have a state.`);
  const lines = jsonLines<ResultLine>(join(library, 'captions.jsonl'));
  const paths = new Set(lines.map(({ path }) => path));
  if (paths.size !== lines.length) throw new Error(`${lines.length - paths.size} items were committed twice.`);
  const failed = jsonLines<{ path: string }>(join(library, '.avocado', 'failures.jsonl'));
  if (lines.length + failed.length !== count)
    throw new Error(`${lines.length} captions and ${failed.length} failures are not ${count}.`);
  const claims = readdirSync(join(library, '.avocado', 'claims'));
  if (claims.length > 0) throw new Error(`${claims.length} claims are left.`);
  for (const { path } of lines) JSON.parse(readFileSync(fsPath(join(library, `${path}.json`)), 'utf8'));
}

async function wholeLibrary(): Promise<void> {
  const library = join(directory, 'library');
  await makeLibrary(library, items);
  const first = await batch(library, ...brief);
  check(library, first.report);
  const second = await batch(library, ...brief);
  const { unchanged = 0, 'failed-before': failed = 0 } = second.report.outcomes;
  if (unchanged + failed !== items) throw new Error(`The second run did something: ${JSON.stringify(second.report)}`);
  console.log(JSON.stringify({ library: first.report.outcomes, failures: first.report.failures }));
  console.log(JSON.stringify({ first_seconds: first.seconds, second_run_seconds: second.seconds }));
}

/** Kills the command line, every third time its engine first; every fifth time two of them are at work. */
async function kills(): Promise<void> {
  const library = join(directory, 'killed');
  await makeLibrary(library, items);
  const results = join(library, 'captions.jsonl');
  const choices = new SeededRandom(1);
  const counts = { command_line: 0, engine: 0, two_at_once: 0 };
  for (let kill = 0; kill < Number(values.kills); kill++) {
    const [one, ...others] = Array.from({ length: kill % 5 === 4 ? 2 : 1 }, () => start([library, ...brief]));
    if (one === undefined) throw new Error('Nothing was started.');
    const { child } = one;
    const before = lineCount(results);
    const enough = before + choices.below(Math.max(1, Math.floor((2 * items) / Number(values.kills))));
    while (lineCount(results) < enough && child.exitCode === null && child.signalCode === null) await sleep(20);
    await sleep(choices.below(500));
    const engine = kill % 3 === 2 ? engineOf(child) : undefined;
    if (engine !== undefined) {
      process.kill(engine, 'SIGKILL');
      counts.engine += 1;
      await sleep(choices.below(4000));
    }
    if (child.exitCode === null) counts.command_line += 1;
    child.kill('SIGKILL');
    counts.two_at_once += others.length;
    for (const other of others) other.child.kill(kill % 2 === 0 ? 'SIGKILL' : 'SIGINT');
    await Promise.all([one, ...others].map(({ end }) => end));
  }
  const left = items - lineCount(results);
  const { report } = await batch(library, ...brief);
  check(library, report);
  console.log(JSON.stringify({ kills: counts, without_line_at_the_last_run: left, last_run: report.outcomes }));
}

/** Results and state on a disk that is full again and again, at another byte each time. */
async function fullDisks(): Promise<void> {
  const why = noSmallDisk();
  if (why !== undefined) {
    console.log(`Full disks were left out: ${why}.`);
    return;
  }
  const count = Math.min(items, 200);
  const library = join(directory, 'full');
  await makeLibrary(library, count);
  let kilobytes = 64;
  const disk = makeSmallDisk(join(directory, 'small'), kilobytes);
  const choices = new SeededRandom(2);
  const told: string[] = [];
  try {
    while (told.length < Number(values['full-disks'])) {
      const { code, stderr } = await start([library, '--out', disk.path, ...brief]).end;
      if ((code !== 5 && code !== 6) || !stderr.includes('ENOSPC'))
        throw new Error(`With a full disk it ended with ${String(code)}: ${stderr}`);
      told.push(stderr.trim().split('\n').at(-1) ?? '');
      jsonLines(join(disk.path, 'captions.jsonl'));
      kilobytes += 40 + 4 * choices.below(40);
      disk.resize(kilobytes);
    }
    const lines = lineCount(join(disk.path, 'captions.jsonl'));
    disk.resize(1 << 20);
    const { report } = await batch(library, '--out', disk.path, ...brief);
    check(disk.path, report, count);
    console.log(JSON.stringify({ full_disks: told, lines_before_the_last_run: lines, last_run: report.outcomes }));
  } finally {
    disk.remove();
  }
}

/** The same clips through the bare engine, as many at a time, without a library around it. */
async function bare(paths: readonly string[], slots: number): Promise<number> {
  const settings = engineSettings({ slots, prefixSlots: 0, mediaCacheBytes: 0 });
  const engine = await openEngineProcess({ settings });
  await engine.ready();
  const left = [...paths];
  const startedMs = performance.now();
  const options = { max_tokens: Number(values['max-tokens']) };
  const worker = async (): Promise<void> => {
    for (let path = left.shift(); path !== undefined; path = left.shift())
      await engine.submit(
        { ...captionRequest(path, options), priority: 'batch' },
        { signal: never, onEvent: () => undefined },
      );
  };
  await Promise.all(Array.from({ length: slots + 4 }, worker));
  const seconds = (performance.now() - startedMs) / 1000;
  await engine.close();
  return seconds;
}

async function throughput(): Promise<void> {
  const library = join(directory, 'compared');
  await mkdir(library);
  const names = Array.from({ length: Number(values.compare) }, (_, n) => `${n}.mp4`);
  const clips: Buffer[] = [];
  for (let seed = 0; seed < 10; seed++) {
    await sampleClip({ seed, seconds: 3, sound: true }, join(directory, 'made.mp4'), never);
    clips.push(readFileSync(join(directory, 'made.mp4')));
  }
  for (const [n, name] of names.entries())
    await put(join(library, name), variantOf(clips[n % 10] as Buffer, String(n)));
  const ratios: number[] = [];
  for (let round = 0; round < Number(values.rounds); round++) {
    const bareSeconds = await bare(
      names.map((name) => join(library, name)),
      Number(values.slots),
    );
    const run = start([library, '--out', join(directory, `out${round}`), ...common]);
    const watched = watch(run.child);
    const report = reportOf(await run.end);
    ratios.push(bareSeconds / report.wall_seconds);
    console.log(JSON.stringify({ bare_seconds: bareSeconds, library_seconds: report.wall_seconds }));
    console.log(JSON.stringify({ stages: account(report.stage_seconds), ...watched() }));
  }
  console.log(JSON.stringify({ library_over_bare_throughput: median(ratios), ratios }));
}

/** Each stage's part of the seconds of all captions together. */
function account(stages: ReportJson['stage_seconds']): Readonly<Record<string, string>> {
  const all = Object.values(stages).reduce((sum, seconds) => sum + seconds, 0);
  const parts = Object.entries(stages).sort(([, left], [, right]) => right - left);
  return Object.fromEntries(parts.map(([stage, seconds]) => [stage, `${((100 * seconds) / all).toFixed(1)} %`]));
}

/** Ticks that the cores spent idle, and all ticks (Linux). */
function coreTicks(): { readonly idle: number; readonly all: number } {
  const [, ...ticks] = (readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? '').split(/\s+/).map(Number);
  const [, , , idle = 0, waiting = 0] = ticks;
  return { idle: idle + waiting, all: ticks.slice(0, 8).reduce((sum, count) => sum + count, 0) };
}

/** From when the engine is there: processor seconds of the command line and the engine, and how busy the cores are. */
function watch(child: ChildProcess): () => object {
  const used = { command_line: 0, engine: 0, decoders: 0 };
  let from: ReturnType<typeof coreTicks> | undefined;
  let to = coreTicks();
  const timer = setInterval(() => {
    const engine = engineOf(child);
    const [own, engines] = [child.pid, engine].map((pid) => (pid === undefined ? undefined : ticksOf(pid)));
    if (engines === undefined || own === undefined) return;
    from ??= coreTicks();
    to = coreTicks();
    [used.command_line, used.engine, used.decoders] = [own.own / 100, engines.own / 100, engines.children / 100];
  }, 50);
  return () => {
    clearInterval(timer);
    const part = from === undefined ? NaN : (to.idle - from.idle) / (to.all - from.all);
    return { processor_seconds: used, cores_busy: `${(100 * (1 - part)).toFixed(1)} %` };
  };
}

/** Hundredths of seconds of a process, and of those of its children that have ended. */
function ticksOf(pid: number): { readonly own: number; readonly children: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
    const [user = 0, system = 0, childUser = 0, childSystem = 0] = fields.slice(11, 15);
    return { own: user + system, children: childUser + childSystem };
  } catch {
    return undefined; // it has ended
  }
}

/** `--plan` of a list of files that are not there: the peak of its memory (Linux: VmHWM). */
async function longListing(): Promise<void> {
  const list = join(directory, 'long.jsonl');
  const entries = Number(values.entries);
  await pipeline(function* () {
    for (let n = 0; n < entries; n++) yield `{"path":"${directory}/some/folder/with/a/long/name/clip-${n}.mp4"}\n`;
  }, createWriteStream(list));
  const startedMs = performance.now();
  const args = ['batch', list, '--plan', '--out', join(directory, 'planned')];
  const child = spawn(process.execPath, [CLI, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
  let peakKilobytes = 0;
  const timer = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${child.pid ?? 0}/status`, 'utf8');
      peakKilobytes = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? peakKilobytes);
    } catch {
      // It has ended.
    }
  }, 100);
  await once(child, 'close');
  clearInterval(timer);
  const seconds = (performance.now() - startedMs) / 1000;
  console.log(JSON.stringify({ listed_entries: entries, seconds, peak_megabytes: peakKilobytes / 1024 }));
}

try {
  await writeFile(join(directory, 'made.mp4'), '');
  if (Number(values.entries) > 0) await longListing();
  if (Number(values.compare) > 0) await throughput();
  if (items > 0) await wholeLibrary();
  if (items > 0 && Number(values.kills) > 0) await kills();
  if (items > 0 && Number(values['full-disks']) > 0) await fullDisks();
} finally {
  await rm(directory, { recursive: true, force: true });
}
