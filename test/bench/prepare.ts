// Preparing a 60 s 1080p30 clip beside ffmpeg that only decodes it, in alternating runs, so that
// a busy machine slows both.
//   npx tsx test/bench/prepare.ts [--clip FILE] [--rounds N] [--reference SCRIPT MODEL] [--keep]
// --keep appends the figures to history.jsonl.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { createPreparePool, type PreparePool } from '../../src/features/pool.ts';
import { copyOfSteps, temporalSteps } from '../../src/features/patches.ts';
import { planMedia } from '../../src/media/plan.ts';
import { probeMedia } from '../../src/media/probe.ts';
import { resolveProfile } from '../../src/media/profile.ts';
import type { MediaPlan } from '../../src/media/types.ts';
import { nativeStatus } from '../../src/base/native.ts';
import { golden } from '../fixtures/golden.ts';
import { PUBLISHED_PATCHES } from '../fixtures/media-cases.ts';
import { NORMALISATION } from '../fixtures/media-plan.ts';
import { compareWithHistory } from './history.ts';
import { median, timed } from './median.ts';

const run = promisify(execFile);
const FFMPEG = process.env['FFMPEG_PATH'] ?? 'ffmpeg';
const MIB = 1024 ** 2;
const STEPS_PER_CUT = 2;

/** Motion everywhere and grain, or h264 would need a tenth of a camera's bits. Made once, half a minute or more. */
async function benchClip(): Promise<string> {
  const path = join(tmpdir(), 'avocado-bench-1080p30-60s-7mbit.mp4');
  if (existsSync(path)) return path;
  process.stderr.write('making the clip …\n');
  const video = ['-f', 'lavfi', '-i', 'testsrc2=s=1920x1080:r=30:d=60,noise=alls=6:allf=t'];
  const audio = ['-f', 'lavfi', '-i', 'aevalsrc=0.3*sin(2*PI*(300+200*sin(t))*t)|0.2*sin(2*PI*700*t):s=44100:d=60'];
  const coding = [
    '-c:v',
    'libx264',
    '-preset',
    'veryfast',
    '-b:v',
    '7M',
    '-maxrate',
    '9M',
    '-bufsize',
    '14M',
    '-pix_fmt',
    'yuv420p',
    '-c:a',
    'aac',
    '-b:a',
    '128k',
  ];
  await run(FFMPEG, ['-nostdin', '-v', 'error', '-y', ...video, ...audio, ...coding, '-f', 'mp4', `${path}.part`]);
  await rename(`${path}.part`, path);
  return path;
}

async function planOf(path: string): Promise<MediaPlan> {
  return planMedia(await probeMedia(path), resolveProfile('paper', {}, undefined), {
    ...PUBLISHED_PATCHES,
    useAudio: true,
  });
}

/** Everything before the towers; patches are cut and given back, as the encoder does. */
async function prepare(path: string, pool: PreparePool): Promise<Record<string, number>> {
  const planned = await timed(() => planOf(path));
  const media = await pool.prepare(planned.value, { preprocessor: NORMALISATION, keepWaveform: false });
  const { frames } = media;
  const cut = await timed(async () => {
    if (frames === undefined) return;
    const steps = temporalSteps(frames);
    let used: Float32Array<ArrayBuffer> | undefined;
    for (let from = 0; from < steps; from += STEPS_PER_CUT)
      used = await pool.patches(copyOfSteps(frames, from, Math.min(steps, from + STEPS_PER_CUT)), used);
  });
  return { probe: planned.seconds, ...media.seconds, patches: cut.seconds };
}

/** Peak of this process's memory while `work` runs, above what it was before. */
async function peakGrowth<T>(work: () => Promise<T>): Promise<{ value: T; bytes: number }> {
  const before = process.memoryUsage.rss();
  let peak = before;
  const timer = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss());
  }, 10);
  try {
    return { value: await work(), bytes: peak - before };
  } finally {
    clearInterval(timer);
  }
}

interface Reference {
  readonly total: number;
  readonly rss_mb: number;
}

async function reference(script: string, model: string, clip: string): Promise<Reference> {
  const { stdout } = await run('python3', [script, clip, model], { maxBuffer: 64 * MIB });
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Reference;
}

async function measure(clip: string, rounds: number, pool: PreparePool) {
  const alone: number[] = [];
  const ours: number[] = [];
  const stages: Record<string, number[]> = {};
  let growth = 0;
  for (let round = 0; round < rounds; round++) {
    alone.push(
      (await timed(() => run(FFMPEG, ['-nostdin', '-v', 'error', '-i', clip, '-map', '0:v:0', '-f', 'null', '-'])))
        .seconds,
    );
    const { value, seconds } = await timed(() => peakGrowth(() => prepare(clip, pool)));
    ours.push(seconds);
    growth = Math.max(growth, value.bytes);
    for (const [stage, time] of Object.entries(value.value)) (stages[stage] ??= []).push(time);
    process.stderr.write(
      `round ${round + 1}: ffmpeg alone ${alone.at(-1)?.toFixed(2) ?? ''} s, prepare ${seconds.toFixed(2)} s\n`,
    );
  }
  return { alone, ours, stages, growth };
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: {
      clip: { type: 'string' },
      rounds: { type: 'string', default: '3' },
      reference: { type: 'string' },
      keep: { type: 'boolean', default: false },
    },
    allowPositionals: true,
  });
  const clip = values.clip ?? (await benchClip());
  const pool = createPreparePool({ threads: 1 });
  // Threads start and compile; what a request costs is what comes after.
  await prepare(golden('clips/av-4s.mp4'), pool);
  const { alone, ours, stages, growth } = await measure(clip, Number(values.rounds), pool);
  await pool.close();
  const [model] = positionals;
  const python =
    values.reference === undefined || model === undefined ? undefined : await reference(values.reference, model, clip);
  const seconds = Object.fromEntries(
    Object.entries(stages).map(([stage, times]) => [stage, Number(median(times).toFixed(3))]),
  );
  // Neighbours in time are compared with each other: the machine was in the same mood.
  const ratio = median(ours.map((time, round) => time / (alone[round] ?? NaN)));
  const row = (name: string, text: string): void => {
    console.log(`${name.padEnd(26)}${text}`);
  };
  row('ffmpeg -f null, median', `${median(alone).toFixed(2)} s`);
  row('prepare, median', `${median(ours).toFixed(2)} s`);
  for (const [stage, time] of Object.entries(seconds)) row(`  ${stage}`, `${time.toFixed(3)} s`);
  row('prepare / ffmpeg', `${ratio.toFixed(3)} (median of ${ours.length} pairs; pictures and sound run side by side)`);
  row('memory above idle', `${(growth / MIB).toFixed(0)} MiB`);
  if (python !== undefined)
    row(
      'reference / prepare',
      `${(python.total / median(ours)).toFixed(2)} (reference ${python.total.toFixed(2)} s, ${python.rss_mb.toFixed(0)} MiB)`,
    );
  row('kernels', nativeStatus().loaded ? 'C++' : 'TypeScript');
  console.log(
    JSON.stringify({
      bench: 'prepare',
      ffmpeg_seconds: median(alone),
      prepare_seconds: median(ours),
      stages: seconds,
      ratio,
      rss_above_idle_mib: growth / MIB,
      rounds: ours.length,
      ...(python === undefined
        ? {}
        : {
            reference_seconds: python.total,
            reference_rss_mib: python.rss_mb,
            reference_ratio: python.total / median(ours),
          }),
    }),
  );
  if (values.clip === undefined)
    compareWithHistory(
      'prepare',
      { 'prepare / ffmpeg': ratio, ...seconds, 'ffmpeg seconds': median(alone) },
      values.keep,
    );
}

await main();
