// `avocado batch` and its engine are killed again and again: nothing is lost, done twice or torn.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { sidecarText } from '../../src/batch/render-sidecar.ts';
import type { ResultLine } from '../../src/batch/types.ts';
import type { SegmentCaption } from '../../src/output/events.ts';
import { BUILT_CLI } from '../fixtures/built-cli.ts';
import { jsonLines, lineCount, put, variantOf } from '../fixtures/clip-library.ts';
import { engineOf } from '../fixtures/engine-processes.ts';
import { examplePath } from '../fixtures/examples.ts';
import { makeClip } from '../fixtures/make-clip.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { SeededRandom } from '../fixtures/seeded-random.ts';
import { stressSize } from '../fixtures/stress-size.ts';

const KILLS = stressSize('kills', { short: 2, long: 50 });
const ITEMS = 2 * KILLS + 8;
const FORMATS = ['json', 'txt', 'vtt'] as const;

const scratch = scratchDirectory();
const started: ChildProcess[] = [];
afterEach(() => {
  for (const child of started) child.kill('SIGKILL');
});

function start(
  library: string,
  options = ['--max-tokens', '4', '--format', FORMATS.join(','), '--slots', '2'],
): { readonly child: ChildProcess; readonly exit: Promise<number | null> } {
  const args = ['batch', library, ...options];
  const env = { ...process.env, TMPDIR: scratch('tmp') };
  const child = spawn(process.execPath, [BUILT_CLI, ...args], { env, stdio: 'ignore' });
  started.push(child);
  return { child, exit: once(child, 'close').then(([code]) => code as number | null) };
}

/** Waits until so many more lines are written, or the process has ended. */
async function untilLines(results: string, lines: number, child: ChildProcess): Promise<void> {
  while (lineCount(results) < lines && child.exitCode === null && child.signalCode === null) await sleep(10);
}

/** Every file once in the results, every sidecar whole, and nothing left over. */
function check(library: string, files: readonly string[]): void {
  const lines = jsonLines<ResultLine>(join(library, 'captions.jsonl'));
  expect(lines.map(({ path }) => path).sort()).toEqual(files.toSorted());
  for (const line of lines)
    for (const format of FORMATS)
      expect(readFileSync(join(library, `${line.path}.${format}`), 'utf8')).toBe(sidecarText(format, line));
  jsonLines(join(library, '.avocado', 'journal.jsonl'));
  expect(readdirSync(join(library, '.avocado', 'claims'))).toEqual([]);
  expect(readdirSync(library).filter((name) => name.includes('avocado-tmp'))).toEqual([]);
}

it('loses nothing, commits nothing twice and tears nothing, whenever it is killed, also with two at once', async () => {
  const library = scratch('library');
  const results = join(library, 'captions.jsonl');
  await mkdir(scratch('tmp'), { recursive: true });
  const clip = readFileSync(examplePath('square-4s.mp4'));
  const files = Array.from({ length: ITEMS }, (_, n) => `${n}.mp4`);
  // The last two have the bytes of the first two.
  for (const [n, name] of files.entries()) await put(join(library, name), variantOf(clip, String(n % (ITEMS - 2))));

  const choices = new SeededRandom(7);
  for (let kill = 0; kill < KILLS; kill++) {
    const [one, ...others] = Array.from({ length: kill % 3 === 2 ? 2 : 1 }, () => start(library));
    await untilLines(results, lineCount(results) + choices.below(3), one!.child);
    await sleep(choices.below(kill % 4 === 0 ? 2000 : 150));
    const engine = kill % 2 === 1 ? engineOf(one!.child) : undefined;
    if (engine !== undefined) {
      process.kill(engine, 'SIGKILL');
      await untilLines(results, lineCount(results) + 1, one!.child);
    }
    one!.child.kill('SIGKILL');
    for (const { child } of others) child.kill(kill % 2 === 0 ? 'SIGKILL' : 'SIGINT');
    await Promise.all([one!.exit, ...others.map(({ exit }) => exit)]);
  }
  const left = ITEMS - lineCount(results);
  console.warn(`${KILLS} kills left ${left} of ${ITEMS} items for the last run.`);
  expect(await start(library).exit).toBe(0);
  check(library, files);
  const before = readFileSync(results);
  expect(await start(library).exit).toBe(0);
  expect(readFileSync(results)).toEqual(before);
}, 3_600_000);

it('goes on behind the finished segments of a long file when it was killed in the middle', async () => {
  const library = scratch('films');
  await mkdir(library);
  await mkdir(scratch('tmp'), { recursive: true });
  const pictures = ['-f', 'lavfi', '-i', 'testsrc2=size=64x48:rate=5:duration=90', '-pix_fmt', 'yuv420p'];
  await makeClip(join(library, 'film.mp4'), [...pictures, '-c:v', 'libx264', '-g', '5']);
  const options = ['--segments', '5', '--max-tokens', '24', '--format', 'none', '--slots', '1'];
  const kept = join(library, '.avocado', 'segments');
  const names = (): string[] => (existsSync(kept) ? readdirSync(kept) : []);

  const killed = start(library, options);
  while (killed.child.exitCode === null && names().every((name) => lineCount(join(kept, name)) < 2)) await sleep(5);
  killed.child.kill('SIGKILL');
  await killed.exit;
  const [name] = names();
  expect(name, 'the run ended before it could be killed').toBeDefined();
  // What was kept is marked: a segment that is captioned again would lose its mark.
  const before = jsonLines<SegmentCaption>(join(kept, name!)).map((segment) => ({ ...segment, caption: 'Kept.' }));
  expect(before.length).toBeGreaterThanOrEqual(2);
  await writeFile(join(kept, name!), before.map((segment) => `${JSON.stringify(segment)}\n`).join(''));

  expect(await start(library, options).exit).toBe(0);
  const [line] = jsonLines<ResultLine>(join(library, 'captions.jsonl'));
  const segments = line?.['segments'] as unknown as readonly SegmentCaption[];
  expect(segments.length).toBeGreaterThan(before.length);
  expect(segments.map(({ caption }) => caption === 'Kept.')).toEqual(segments.map((_, index) => index < before.length));
  expect(segments.map(({ start: from }) => from).slice(1)).toEqual(segments.map(({ end }) => end).slice(0, -1));
  expect([segments[0]?.start, segments.at(-1)?.end]).toEqual([0, 90]);
  expect(names()).toEqual([]);
}, 600_000);
