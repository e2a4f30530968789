// A long file in segments with avocado-nano: its first words beside those of its first minute alone, in alternating
// runs, or memory and temporary space while all of it is captioned.
//   npx tsx test/bench/long-file.ts FILE [--rounds N]
//   npx tsx test/bench/long-file.ts FILE --memory
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import process from 'node:process';
import { parseArgs, promisify } from 'node:util';
import { defaultModelDirectory } from '../../src/base/package-files.ts';
import { captionRequest } from '../../src/captioner/caption-options.ts';
import { captionEvents, type Captioner } from '../../src/captioner/captioner.ts';
import { openCaptioner } from '../../src/captioner/open-captioner.ts';
import type { CaptionEnd } from '../../src/output/events.ts';
import { engineSettings } from '../../src/settings/engine-settings.ts';
import { median } from './median.ts';

const run = promisify(execFile);
const ALONE_SECONDS = 60;
const SAMPLE_MS = 500;
const MIB = 1024 ** 2;

const { values, positionals } = parseArgs({
  options: { rounds: { type: 'string', default: '3' }, memory: { type: 'boolean', default: false } },
  allowPositionals: true,
});

function open(): Promise<Captioner> {
  return openCaptioner(engineSettings({ modelDir: defaultModelDirectory(), maxMediaSeconds: 86_400 }));
}

async function captioned(captioner: Captioner, path: string, signal?: AbortSignal): Promise<CaptionEnd> {
  for await (const event of captionEvents(captioner, captionRequest(path, { segments: 'auto' }), signal)) {
    if (event.type === 'caption-end') return event;
    if (event.type === 'caption-error') throw new Error(event.message);
  }
  throw new Error('Stopped.');
}

/** Seconds until the first text; then the caption is cancelled. A new captioner knows nothing of the file. */
async function firstWords(path: string): Promise<number> {
  const captioner = await open();
  const enough = new AbortController();
  const started = performance.now();
  let seconds = NaN;
  for await (const event of captionEvents(captioner, captionRequest(path, { segments: 'auto' }), enough.signal)) {
    if (event.type === 'caption-error') throw new Error(event.message);
    if (event.type !== 'text-delta' || !Number.isNaN(seconds)) continue;
    seconds = (performance.now() - started) / 1000;
    enough.abort();
  }
  await captioner.close();
  return seconds;
}

async function compareFirstWords(path: string): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'avocado-bench-long-'));
  try {
    const minute = join(directory, `minute${extname(path)}`);
    const cut = ['-t', String(ALONE_SECONDS), '-c', 'copy', minute];
    await run('ffmpeg', ['-nostdin', '-v', 'error', '-i', path, ...cut]);
    const ratios: number[] = [];
    for (let round = 0; round < Number(values.rounds); round++) {
      const alone = await firstWords(minute);
      const long = await firstWords(path);
      ratios.push(long / alone);
      console.log(JSON.stringify({ first_minute_alone: alone, whole_file: long, ratio: long / alone }));
    }
    console.log(JSON.stringify({ rounds: ratios.length, ratio: median(ratios) }));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Memory of this process and its decoders; what they share, such as ffmpeg's libraries, counts once. */
function usedBytes(): number {
  const parents = new Map<number, number>();
  const kibibytes = new Map<number, number>();
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
      const shares = /^Pss: +(\d+) kB$/m.exec(readFileSync(`/proc/${name}/smaps_rollup`, 'utf8'))?.[1];
      kibibytes.set(Number(name), Number(shares ?? 0));
    } catch {
      // It has just ended.
    }
  }
  const isOurs = (pid: number | undefined): boolean =>
    pid !== undefined && pid > 1 && (pid === process.pid || isOurs(parents.get(pid)));
  return [...kibibytes].reduce((bytes, [pid, count]) => bytes + (isOurs(pid) ? count * 1024 : 0), 0);
}

function directoryBytes(directory: string): number {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((bytes, { parentPath, name }) => bytes + statSync(join(parentPath, name)).size, 0);
}

async function memory(path: string): Promise<void> {
  const temporary = mkdtempSync(join(tmpdir(), 'avocado-bench-long-'));
  process.env['TMPDIR'] = temporary;
  const captioner = await open();
  const [idle, idleTemporary] = [usedBytes(), directoryBytes(temporary)];
  const samples: number[] = [];
  let mostTemporary = 0;
  const timer = setInterval(() => {
    samples.push(usedBytes());
    mostTemporary = Math.max(mostTemporary, directoryBytes(temporary));
  }, SAMPLE_MS);
  const { segments = [], media, timings } = await captioned(captioner, path);
  clearInterval(timer);
  await captioner.close();
  rmSync(temporary, { recursive: true, force: true });
  const above = (bytes: number): number => Math.round((bytes - idle) / MIB);
  const quarter = (part: number): number => {
    const length = Math.floor(samples.length / 4);
    return above(samples.slice(part * length, (part + 1) * length).reduce((most, one) => Math.max(most, one), 0));
  };
  console.log(
    JSON.stringify({
      media_seconds: media.durationSeconds,
      seconds: timings.totalSeconds,
      segments: segments.length,
      mib_above_idle_by_quarter: [0, 1, 2, 3].map(quarter),
      temporary_mib: (mostTemporary - idleTemporary) / MIB,
    }),
  );
}

const [path] = positionals;
if (path === undefined) throw new Error('Usage: npx tsx test/bench/long-file.ts FILE [--rounds N | --memory]');
await (values.memory ? memory(path) : compareFirstWords(path));
