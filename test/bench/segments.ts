// Shot changes and cuts on generated films whose cuts, fades and speech are known; and the preparation of a long file
// in segments beside ffmpeg that only decodes it, in alternating runs.
//   npx tsx test/bench/segments.ts [--films N] [--from SEED] [--seconds S]
//   npx tsx test/bench/segments.ts --speed [FILE] [--minutes M] [--rounds N]
// Beside the time on the clock it tells the ratio of processor time, which neighbours on a busy machine change less.
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { parseArgs, promisify } from 'node:util';
import { copyOfSteps, temporalSteps } from '../../src/features/patches.ts';
import { createPreparePool, type PreparePool } from '../../src/features/pool.ts';
import { openVoices } from '../../src/lab/synthetic/voices.ts';
import { partOf } from '../../src/media/part.ts';
import { planMedia } from '../../src/media/plan.ts';
import { probeMedia } from '../../src/media/probe.ts';
import { resolveProfile } from '../../src/media/profile.ts';
import type { MediaProbe } from '../../src/media/types.ts';
import { cutWindow, segmentRules } from '../../src/segments/choose-cut.ts';
import { scanFile, type FileScan } from '../../src/segments/scan.ts';
import { segmentFile, type Segment } from '../../src/segments/segment-file.ts';
import type { ShotChange } from '../../src/segments/shots.ts';
import { isIn } from '../../src/segments/silence.ts';
import { PUBLISHED_PATCHES } from '../fixtures/media-cases.ts';
import { NORMALISATION } from '../fixtures/media-plan.ts';
import { knownFilm, voicesOf, type KnownFilm } from './known-films.ts';
import { median, timed } from './median.ts';

const run = promisify(execFile);
const signal = new AbortController().signal;
/** Segments of films of a minute: 5 to 30 s. */
const RULES = segmentRules(15);
/** A pause in which a cut is legal. */
const LEGAL_PAUSE_SECONDS = 0.4;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    films: { type: 'string', default: '8' },
    from: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '60' },
    speed: { type: 'boolean', default: false },
    minutes: { type: 'string', default: '10' },
    rounds: { type: 'string', default: '3' },
  },
});

const totals = {
  cuts: 0,
  cuts_found: 0,
  cuts_told_wrongly: 0,
  fades: 0,
  fades_found: 0,
  fades_told_wrongly: 0,
  segments: 0,
  off_frames: 0,
  at_shot_changes: 0,
  in_speech: 0,
  in_speech_beside_a_pause: 0,
};

/** Takes away the first of `told` that is meant. */
function takes(told: ShotChange[], isMeant: (change: ShotChange) => boolean): boolean {
  const at = told.findIndex(isMeant);
  if (at >= 0) told.splice(at, 1);
  return at >= 0;
}

function countShots({ cuts, fades, interval }: KnownFilm, changes: readonly ShotChange[]): Record<string, number[]> {
  const told = [...changes];
  const reach = interval * 1.01;
  const missedCuts = cuts.filter(
    (cut) => !takes(told, ({ kind, time }) => kind === 'cut' && Math.abs(time - cut) <= reach),
  );
  const missedFades = fades.filter(
    ({ from, to }) => !takes(told, ({ time }) => time >= from - reach && time <= to + reach),
  );
  const wrong = (kind: ShotChange['kind']): number[] =>
    told.filter((change) => change.kind === kind).map(({ time }) => time);
  totals.cuts += cuts.length;
  totals.cuts_found += cuts.length - missedCuts.length;
  totals.fades += fades.length;
  totals.fades_found += fades.length - missedFades.length;
  totals.cuts_told_wrongly += wrong('cut').length;
  totals.fades_told_wrongly += wrong('fade').length;
  return {
    missed_cuts: missedCuts,
    missed_fades: missedFades.map(({ from }) => from),
    no_cuts: wrong('cut'),
    no_fades: wrong('fade'),
  };
}

/** Pauses of the speech that are long enough to be cut, in a window. */
function hasPause({ speech }: KnownFilm, from: number, to: number): boolean {
  const ends = [from, ...speech.filter((part) => part.to > from && part.from < to).map((part) => part.to)];
  return ends.some((end) => {
    const next = speech.find((part) => part.to > end)?.from ?? Infinity;
    return Math.min(next, to) - Math.max(end, from) >= LEGAL_PAUSE_SECONDS;
  });
}

/** @param first time of the first frame, from which the truth counts: sound may begin before it */
function countSegments(film: KnownFilm, scan: FileScan, segments: readonly Segment[], first: number): number[] {
  const { durationSeconds, frameTimes } = scan.clock;
  const inSpeech: number[] = [];
  totals.segments += segments.length;
  for (const { start, end, reason } of segments) {
    if (reason === 'end') continue;
    if (!frameTimes.includes(end)) totals.off_frames += 1;
    if (reason.startsWith('shot')) totals.at_shot_changes += 1;
    if (!isIn(end - first, film.speech)) continue;
    totals.in_speech += 1;
    const window = cutWindow(start, durationSeconds, RULES);
    if (window === undefined || !hasPause(film, window.from - first, window.to - first)) continue;
    totals.in_speech_beside_a_pause += 1;
    inSpeech.push(end);
  }
  return inSpeech;
}

async function films(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'avocado-bench-segments-'));
  const { voices, by } = await voicesOf(await openVoices(signal), signal);
  try {
    for (let seed = Number(values.from); seed < Number(values.from) + Number(values.films); seed++) {
      const film = await knownFilm(seed, Number(values.seconds), voices, directory, signal);
      const scan = scanFile(await probeMedia(film.path, { keepsTimes: true }), { signal, timeoutSeconds: 600 });
      const { durationSeconds, frameTimes } = scan.clock;
      const first = frameTimes[0] ?? 0;
      const told = await scan.shots(0, durationSeconds);
      const wrong = countShots(
        film,
        told.map((change) => ({ ...change, time: change.time - first })),
      );
      const segments: Segment[] = [];
      for await (const segment of segmentFile(scan, 0, durationSeconds, RULES)) segments.push(segment);
      const inSpeech = countSegments(film, scan, segments, first);
      console.log(JSON.stringify({ film: seed, form: film.form, ...wrong, in_speech: inSpeech }));
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  const { cuts, cuts_found: found, cuts_told_wrongly: wrong, fades, fades_found: faded } = totals;
  console.log(
    JSON.stringify({
      films: Number(values.films),
      voices: by,
      hard_f1: (2 * found) / Math.max(1, cuts + found + wrong),
      fades_share: faded / Math.max(1, fades),
      ...totals,
    }),
  );
}

const SHOTS = ['testsrc2', 'smptehdbars', 'testsrc', 'gradients', 'rgbtestsrc', 'testsrc2', 'pal100bars', 'yuvtestsrc'];

/** 1080p with motion, grain, shots of 5 to 10 s and sound with pauses. Made once, in a minute or two. */
async function longFilm(): Promise<string> {
  const path = join(tmpdir(), `avocado-bench-1080p30-${values.minutes}min.mp4`);
  if (existsSync(path)) return path;
  process.stderr.write('making the film …\n');
  const shots = SHOTS.flatMap((shot, index) => [
    ...['-f', 'lavfi', '-t', String(index % 2 === 0 ? 5.2 : 9.8), '-i', `${shot}=s=1920x1080:r=30`],
  ]);
  const sound = 'aevalsrc=0.3*sin(2*PI*(300+200*sin(t))*t)*lt(mod(t\\,3.7)\\,3.1):s=44100:d=60';
  const joined = SHOTS.map((_, index) => `[${index}:v]format=yuv420p,setsar=1[v${index}]`).join(';');
  const inputs = SHOTS.map((_, index) => `[v${index}]`).join('');
  const filter = `${joined};${inputs}concat=n=${SHOTS.length},noise=alls=6:allf=t[v]`;
  const coding = ['-c:v', 'libx264', '-preset', 'veryfast', '-b:v', '7M', '-maxrate', '9M', '-bufsize', '14M'];
  const quietly = ['-nostdin', '-v', 'error', '-y'];
  await run('ffmpeg', [
    ...[...quietly, ...shots, '-f', 'lavfi', '-i', sound, '-filter_complex', filter, '-map', '[v]'],
    ...[
      '-map',
      `${SHOTS.length}:a`,
      ...coding,
      '-pix_fmt',
      'yuv420p',
      '-c:a',
      'aac',
      '-b:a',
      '128k',
      `${path}.minute.mp4`,
    ],
  ]);
  const again = [
    '-stream_loop',
    String(Number(values.minutes) - 1),
    '-i',
    `${path}.minute.mp4`,
    '-c',
    'copy',
    '-f',
    'mp4',
    `${path}.part`,
  ];
  await run('ffmpeg', [...quietly, ...again]);
  await rename(`${path}.part`, path);
  await rm(`${path}.minute.mp4`);
  return path;
}

/** Everything before the towers, as the captioner does it: a segment is decoded while the next cut is looked for. */
async function prepareAll(path: string, pool: PreparePool): Promise<Record<string, number>> {
  const started = performance.now();
  const since = (): number => (performance.now() - started) / 1000;
  const probe = await pool.probe(path, { keepsTimes: true });
  const probed = since();
  const scan = scanFile(probe, { signal, timeoutSeconds: 3600 });
  const { durationSeconds } = scan.clock;
  const working = new Set<Promise<void>>();
  let [segments, looking, asked, first] = [0, 0, since(), 0];
  for await (const { start, end } of segmentFile(scan, 0, durationSeconds, segmentRules(undefined))) {
    looking += since() - asked;
    segments += 1;
    const isLast = end === durationSeconds;
    const work = prepareOne(partOf(probe, { rule: 'time', start, end: isLast ? undefined : end }), pool).then(() => {
      if (start === 0) first = since();
      working.delete(work);
    });
    working.add(work);
    if (working.size >= 2) await Promise.race(working);
    asked = since();
  }
  await Promise.all(working);
  return { seconds: since(), segments, probe: probed, looking, first_segment: first };
}

async function prepareOne(part: MediaProbe, pool: PreparePool): Promise<void> {
  const plan = planMedia(part, resolveProfile('paper', {}, undefined), { ...PUBLISHED_PATCHES, useAudio: true });
  const { frames } = await pool.prepare(plan, { preprocessor: NORMALISATION, keepWaveform: false });
  if (frames === undefined) return;
  let used: Float32Array<ArrayBuffer> | undefined;
  for (let from = 0; from < temporalSteps(frames); from += 8)
    used = await pool.patches(copyOfSteps(frames, from, Math.min(temporalSteps(frames), from + 8)), used);
}

/** Of this process, and of its children that have ended. */
function processorSeconds(): number {
  const stat = readFileSync('/proc/self/stat', 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).reduce((ticks, field) => ticks + Number(field), 0) / 100;
}

async function speed(path: string): Promise<void> {
  const pool = createPreparePool({ threads: 2 });
  const [ratios, ofProcessor]: [number[], number[]] = [[], []];
  for (let round = 0; round < Number(values.rounds); round++) {
    const before = processorSeconds();
    const alone = await timed(() => run('ffmpeg', ['-nostdin', '-v', 'error', '-i', path, '-f', 'null', '-']));
    const between = processorSeconds();
    const ours = await prepareAll(path, pool);
    const after = processorSeconds();
    ratios.push((ours['seconds'] ?? NaN) / alone.seconds);
    ofProcessor.push((after - between) / (between - before));
    const told = { ffmpeg_processor: between - before, processor: after - between };
    console.log(JSON.stringify({ ffmpeg: alone.seconds, ...ours, ratio: ratios.at(-1), ...told }));
  }
  await pool.close();
  console.log(
    JSON.stringify({ rounds: ratios.length, ratio: median(ratios), ratio_of_processor_time: median(ofProcessor) }),
  );
}

if (values.speed) await speed(positionals[0] ?? (await longFilm()));
else await films();
