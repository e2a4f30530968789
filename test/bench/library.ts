// A whole library with `avocado batch`: every entry ends in one state, the report adds up, a second run does nothing,
// and kill -9 loses nothing. Then its throughput beside the bare engine on the same clips, and a long listing. Usage:
// npx tsx test/bench/library.ts [--items N] [--kills N] [--compare N] [--entries N] [--max-tokens N] [--slots N]
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, readFileSync } from 'node:fs';
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
import { median } from './median.ts';

const CLI = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
/** Clips that are really made; the others are these with other bytes behind them, which take as much work. */
const MADE = 40;

const { values } = parseArgs({
  options: {
    items: { type: 'string', default: '1000' },
    kills: { type: 'string', default: '50' },
    compare: { type: 'string', default: '120' },
    rounds: { type: 'string', default: '3' },
    entries: { type: 'string', default: '1000000' },
    'max-tokens': { type: 'string', default: '64' },
    slots: { type: 'string', default: '4' },
  },
});
const items = Number(values.items);
const directory = await mkdtemp(join(tmpdir(), 'avocado-library-'));
const common = ['--max-tokens', values['max-tokens'], '--slots', values.slots];
const never = new AbortController().signal;

interface ReportJson {
  readonly listed: number;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly wall_seconds: number;
  readonly media_seconds: number;
  readonly failures: Readonly<Record<string, number>>;
}

function start(args: readonly string[]): { readonly child: ChildProcess; readonly end: Promise<string> } {
  const child = spawn(process.execPath, [CLI, 'batch', ...args, '--json'], { stdio: ['ignore', 'pipe', 'ignore'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => (text += piece));
  return { child, end: once(child, 'close').then(() => text) };
}

async function batch(...args: readonly string[]): Promise<{ readonly report: ReportJson; readonly seconds: number }> {
  const startedMs = performance.now();
  const text = await start([...args, ...common]).end;
  return { report: JSON.parse(text) as ReportJson, seconds: (performance.now() - startedMs) / 1000 };
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

function check(library: string, report: ReportJson): void {
  const sum = Object.values(report.outcomes).reduce((all, count) => all + count, 0);
  if (sum !== report.listed || report.listed !== items) throw new Error(`${sum} of ${items} entries have a state.`);
  const lines = jsonLines<ResultLine>(join(library, 'captions.jsonl'));
  const paths = new Set(lines.map(({ path }) => path));
  if (paths.size !== lines.length) throw new Error(`${lines.length - paths.size} items were committed twice.`);
  const failed = jsonLines<{ path: string }>(join(library, '.avocado', 'failures.jsonl'));
  if (lines.length + failed.length !== items)
    throw new Error(`${lines.length} captions and ${failed.length} failures are not ${items}.`);
  for (const { path } of lines) JSON.parse(readFileSync(fsPath(join(library, `${path}.json`)), 'utf8'));
}

async function wholeLibrary(): Promise<void> {
  const library = join(directory, 'library');
  await makeLibrary(library, items);
  const first = await batch(library);
  check(library, first.report);
  const second = await batch(library);
  const { unchanged = 0, 'failed-before': failed = 0 } = second.report.outcomes;
  if (unchanged + failed !== items) throw new Error(`The second run did something: ${JSON.stringify(second.report)}`);
  console.log(JSON.stringify({ library: first.report.outcomes, failures: first.report.failures }));
  console.log(JSON.stringify({ first_seconds: first.seconds, second_run_seconds: second.seconds }));
}

/** Kills the command line, and every third time its engine first. */
async function kills(): Promise<void> {
  const library = join(directory, 'killed');
  await makeLibrary(library, items);
  const choices = new SeededRandom(1);
  const counts = { cli: 0, engine: 0 };
  for (let kill = 0; kill < Number(values.kills); kill++) {
    const { child, end } = start([library, ...common]);
    const before = lineCount(join(library, 'captions.jsonl'));
    const enough = before + choices.below(Math.max(1, Math.floor((2 * items) / Number(values.kills))));
    while (lineCount(join(library, 'captions.jsonl')) < enough && child.exitCode === null) await sleep(20);
    await sleep(choices.below(500));
    const engine = kill % 3 === 2 ? engineOf(child) : undefined;
    if (engine !== undefined) {
      process.kill(engine, 'SIGKILL');
      counts.engine += 1;
      await sleep(choices.below(4000));
    }
    child.kill('SIGKILL');
    counts.cli += 1;
    await end;
  }
  const { report } = await batch(library);
  check(library, report);
  console.log(JSON.stringify({ kills: counts, last_run: report.outcomes }));
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
    const { report } = await batch(library, '--out', join(directory, `out${round}`));
    ratios.push(bareSeconds / report.wall_seconds);
    console.log(JSON.stringify({ bare_seconds: bareSeconds, library_seconds: report.wall_seconds }));
  }
  console.log(JSON.stringify({ library_over_bare_throughput: median(ratios), ratios }));
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
} finally {
  await rm(directory, { recursive: true, force: true });
}
