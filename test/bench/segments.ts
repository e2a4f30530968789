// Shot changes and cuts on generated films whose cuts, fades and speech are known; and the time that looking for them
// takes beside ffmpeg that only decodes the file, in alternating runs.
//   npx tsx test/bench/segments.ts [--films N] [--seconds S] [--speed FILE]
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { filmTruth, type FilmShot } from '../../src/lab/synthetic/sample-film.ts';
import { framesOf, soundTrack } from '../../src/lab/synthetic/sample-clip.ts';
import { WORLD } from '../../src/lab/synthetic/vocabulary.ts';
import { openVoices, type Recording } from '../../src/lab/synthetic/voices.ts';
import { encodeMp4 } from '../../src/media/encode-mp4.ts';
import { probeMedia } from '../../src/media/probe.ts';
import { segmentRules } from '../../src/segments/choose-cut.ts';
import { scanFile } from '../../src/segments/scan.ts';
import { segmentFile } from '../../src/segments/segment-file.ts';
import { median } from './median.ts';

const run = promisify(execFile);
const signal = new AbortController().signal;
const FPS = 25;
/** Frames of a fade on each side of the cut. */
const FADE = 10;
const SPEED_ROUNDS = 3;

type Change = 'cut' | 'black' | 'dissolve';
const CHANGES: readonly Change[] = ['cut', 'cut', 'black', 'cut', 'dissolve'];

/** How the film goes on after shot `index`. */
function changeAfter(index: number): Change {
  return CHANGES[index % CHANGES.length] ?? 'cut';
}

function mixed(one: Uint8Array, other: Uint8Array | undefined, share: number): Uint8Array {
  return one.map((level, at) => level + ((other?.[at] ?? 0) - level) * share);
}

/** Frames of all shots, with fades made of the frames that are there. */
function* filmFrames(shots: readonly FilmShot[]): Generator<Uint8Array> {
  let before: { change: Change; last: Uint8Array } | undefined;
  for (const [index, { script }] of shots.entries()) {
    const frames = [...framesOf(script)];
    const change = index === shots.length - 1 ? 'cut' : changeAfter(index);
    const next = shots[index + 1];
    const [first] = next === undefined ? [] : framesOf(next.script);
    for (const [at, frame] of frames.entries()) {
      const left = frames.length - at;
      let shown = frame;
      if (before !== undefined && before.change !== 'cut' && at < FADE)
        shown = mixed(
          frame,
          before.change === 'black' ? undefined : before.last,
          0.5 * (1 - at / FADE) * (before.change === 'black' ? 2 : 1),
        );
      if (change !== 'cut' && left <= FADE)
        shown = mixed(
          shown,
          change === 'black' ? undefined : first,
          0.5 * (1 - (left - 1) / FADE) * (change === 'black' ? 2 : 1),
        );
      yield shown;
    }
    const last = frames.at(-1);
    before = last && { change, last };
  }
}

async function makeFilm(seed: number, seconds: number, recording: Recording, path: string): Promise<FilmShot[]> {
  const shots = filmTruth({ seed, minutes: seconds / 60 });
  const wave = Float32Array.from(shots.flatMap(({ script }) => [...soundTrack(script, recording)]));
  const size = WORLD.sizes['16:9'] ?? [320, 180];
  await encodeMp4(
    { size, fps: FPS, frames: filmFrames(shots), sound: { wave, sampleRate: WORLD.sampleRate } },
    path,
    signal,
  );
  return shots;
}

/** The film at another rate: NTSC frames, or a third of the frames left out in turn. Times stay. */
const FORMS: Readonly<Record<string, readonly string[]>> = {
  plain: [],
  ntsc: ['-r', '30000/1001'],
  variable: ['-vf', "select='lt(mod(n,50),25)+not(mod(n,3))'", '-fps_mode', 'vfr'],
};

interface Score {
  hits: number;
  told: number;
  true: number;
}

function f1({ hits, told, true: truths }: Score): number {
  return told + truths === 0 ? 1 : (2 * hits) / (told + truths);
}

/** Counts which true times are told within the reach, each once. */
function score(truths: readonly number[], told: readonly number[], reach: number, into: Score): number[] {
  const left = [...told];
  for (const truth of truths) {
    const at = left.findIndex((time) => Math.abs(time - truth) <= reach);
    if (at >= 0) {
      left.splice(at, 1);
      into.hits++;
    }
  }
  into.true += truths.length;
  return left;
}

const { values } = parseArgs({
  options: {
    films: { type: 'string', default: '9' },
    seconds: { type: 'string', default: '60' },
    speed: { type: 'string' },
  },
});

async function cuts(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'avocado-bench-segments-'));
  const [hard, fades] = [
    { hits: 0, told: 0, true: 0 },
    { hits: 0, told: 0, true: 0 },
  ] as [Score, Score];
  const reasons: Record<string, number> = {};
  try {
    const recording = await openVoices(signal);
    for (let seed = 1; seed <= Number(values.films); seed++) {
      const plain = join(directory, 'plain.mp4');
      const shots = await makeFilm(seed, Number(values.seconds), recording, plain);
      const [form = 'plain', options = []] = Object.entries(FORMS)[seed % 3] ?? [];
      const path = form === 'plain' ? plain : join(directory, 'film.mp4');
      if (form !== 'plain')
        await run('ffmpeg', [
          '-v',
          'error',
          '-y',
          '-i',
          plain,
          ...options,
          '-c:v',
          'libx264',
          '-preset',
          'veryfast',
          '-c:a',
          'copy',
          path,
        ]);
      const scan = scanFile(await probeMedia(path, { keepsTimes: true }), { signal, timeoutSeconds: 600 });
      const { durationSeconds } = scan.clock;
      const told = await scan.shots(0, durationSeconds);
      const inner = shots.slice(0, -1).map(({ end }, index) => ({ end, change: changeAfter(index) }));
      const times = told.map(({ time }) => time);
      const ends = (isCut: boolean): number[] =>
        inner.filter(({ change }) => (change === 'cut') === isCut).map(({ end }) => end);
      // A frame of the slowest form that keeps the shot's first one, or the fade's extent.
      const rest = score(ends(false), times, FADE / FPS, fades);
      const wrong = score(ends(true), rest, 1 / FPS + 0.081 * Number(form === 'variable'), hard);
      hard.told += ends(true).length + wrong.length;
      for await (const { reason } of segmentFile(scan, 0, durationSeconds, segmentRules(15)))
        reasons[reason] = (reasons[reason] ?? 0) + 1;
      console.log(
        JSON.stringify({ film: seed, form, true_cuts: ends(true).length, true_fades: ends(false).length, wrong }),
      );
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
  const found = fades.hits / Math.max(1, fades.true);
  console.log(
    JSON.stringify({
      films: Number(values.films),
      hard_f1: f1(hard),
      hard_recall: hard.hits / Math.max(1, hard.true),
      fade_recall: found,
      reasons,
    }),
  );
}

/** Looking for cuts, and ffmpeg that decodes everything and keeps nothing. */
async function speed(path: string): Promise<void> {
  const seconds = async (work: () => Promise<unknown>): Promise<number> => {
    const started = performance.now();
    await work();
    return (performance.now() - started) / 1000;
  };
  const [looking, decoding]: [number[], number[]] = [[], []];
  for (let round = 0; round < SPEED_ROUNDS; round++) {
    looking.push(
      await seconds(async () => {
        const scan = scanFile(await probeMedia(path, { keepsTimes: true }), { signal, timeoutSeconds: 3600 });
        let segments = 0;
        const cuts = segmentFile(scan, 0, scan.clock.durationSeconds, segmentRules(undefined));
        for await (const { start, end } of cuts) if (end > start) segments += 1;
        if (segments === 0) throw new Error('The film has no segments.');
      }),
    );
    decoding.push(await seconds(() => run('ffmpeg', ['-v', 'error', '-i', path, '-f', 'null', '-'])));
  }
  const [look, decode] = [median(looking), median(decoding)];
  console.log(JSON.stringify({ look_seconds: look, decode_seconds: decode, ratio: look / decode }));
}

if (values.speed === undefined) await cuts();
else await speed(values.speed);
