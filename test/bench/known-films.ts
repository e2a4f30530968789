// Films whose shot changes and speech are known to the frame: drawn pictures, joined by cuts and fades, over voices
// with pauses, music or nothing, at several rates and in several containers. The same seed gives the same film.
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { FramePainter } from '../../src/lab/synthetic/frame-painter.ts';
import { Rng } from '../../src/lab/synthetic/rng.ts';
import { sampleTruth } from '../../src/lab/synthetic/sample-clip.ts';
import { recordedLines, type Recording } from '../../src/lab/synthetic/voices.ts';
import { WORLD } from '../../src/lab/synthetic/vocabulary.ts';
import { encodeMp4 } from '../../src/media/encode-mp4.ts';
import type { Interval } from '../../src/segments/silence.ts';

const run = promisify(execFile);

const SIZE = [192, 108] as const;
const RATE = WORLD.sampleRate;
const RATES = [25, 30, 30_000 / 1001, 24_000 / 1001, 50];
const CONTAINERS = ['plain', 'equal key distances', 'variable rate', 'transport stream'] as const;
const SOUNDS = ['voices', 'close voices', 'voices over music', 'music', 'none'] as const;

export interface KnownFilm {
  readonly path: string;
  /** what it is, for people */
  readonly form: string;
  /** seconds between its frames, the longest there are */
  readonly interval: number;
  /** times of the first frames of shots after a cut, seconds from the first frame */
  readonly cuts: readonly number[];
  /** from the last frame of one shot alone to the first of the next */
  readonly fades: readonly Interval[];
  readonly speech: readonly Interval[];
}

/** One shot: what it shows so many seconds after its start. */
type Shot = (time: number) => Uint8Array;

interface Change {
  readonly kind: 'cut' | 'through a colour' | 'dissolve';
  /** frames that show both shots or the colour; 0 for a cut */
  readonly frames: number;
  readonly level: number;
}

/** @param voices utterances, mono at WORLD.sampleRate */
export async function knownFilm(
  seed: number,
  seconds: number,
  voices: readonly Float32Array[],
  directory: string,
  signal: AbortSignal,
): Promise<KnownFilm> {
  const rng = new Rng(seed, 'film');
  const fps = RATES[seed % RATES.length] ?? 25;
  const container = CONTAINERS[Math.floor(seed / RATES.length) % CONTAINERS.length] ?? 'plain';
  const sound = rng.weighted(SOUNDS, [3, 3, 3, 1, 1]);
  const { frames, cuts, fades } = pictures(rng, Math.round(seconds * fps), fps);
  const { wave, speech } = soundOf(rng, seconds, sound, voices);
  const plain = join(directory, `${seed}.mp4`);
  await encodeMp4(
    { size: SIZE, fps, frames, sound: sound === 'none' ? undefined : { wave, sampleRate: RATE } },
    plain,
    signal,
  );
  const kept = (frame: number): boolean => container !== 'variable rate' || isKept(frame);
  const timeOf = (frame: number): number => {
    let shown = frame;
    while (!kept(shown)) shown++;
    return shown / fps;
  };
  return {
    path: await inContainer(plain, container, fps, rng),
    form: `${fps.toFixed(2)} frames/s, ${container}, ${sound}`,
    interval: (container === 'variable rate' ? 3 : 1) / fps,
    cuts: cuts.map(timeOf),
    fades: fades.map(({ from, to }) => ({ from: from / fps, to: to / fps })),
    speech,
  };
}

/** Of a variable rate: 25 frames, then a third of the next 25. */
function isKept(frame: number): boolean {
  return frame % 50 < 25 || frame % 3 === 0;
}

async function inContainer(
  plain: string,
  container: (typeof CONTAINERS)[number],
  fps: number,
  rng: Rng,
): Promise<string> {
  const coding = ['-c:v', 'libx264', '-preset', 'veryfast', '-crf', '23', '-c:a', 'aac', '-b:a', '64k'];
  const [options, ending] = (
    {
      plain: [[], 'mp4'],
      'equal key distances': [
        ['-g', String(Math.round(fps * rng.pick([1, 2, 4]))), '-sc_threshold', '0', '-bf', '0'],
        'mkv',
      ],
      'variable rate': [['-vf', "select='lt(mod(n,50),25)+not(mod(n,3))'", '-fps_mode', 'vfr'], 'mp4'],
      'transport stream': [[], 'ts'],
    } as const
  )[container];
  if (container === 'plain') return plain;
  const path = plain.replace(/mp4$/, `form.${ending}`);
  await run('ffmpeg', ['-nostdin', '-v', 'error', '-y', '-i', plain, ...options, ...coding, path]);
  return path;
}

/** Shots of 2 to 20 s: most joined by cuts. */
function pictures(
  rng: Rng,
  total: number,
  fps: number,
): { readonly frames: Iterable<Uint8Array>; readonly cuts: readonly number[]; readonly fades: readonly Interval[] } {
  const starts = [0];
  const shots = [drawShot(rng)];
  const changes: Change[] = [];
  const [cuts, fades]: [number[], Interval[]] = [[], []];
  for (;;) {
    const start = (starts.at(-1) ?? 0) + Math.round(fps * rng.between(2, rng.chance(0.3) ? 20 : 8));
    if (start > total - 2 * fps) break;
    const kind = rng.weighted(['cut', 'through a colour', 'dissolve'] as const, [6, 2, 2]);
    const change = {
      kind,
      frames: kind === 'cut' ? 0 : 2 * Math.round((fps * rng.between(0.4, 1.4)) / 2),
      level: rng.chance(0.8) ? 0 : 255,
    };
    if (kind === 'cut') cuts.push(start);
    else fades.push({ from: start - change.frames / 2 - 1, to: start + change.frames / 2 });
    changes.push(change);
    starts.push(start);
    shots.push(drawShot(rng));
  }
  return { frames: joined(starts, shots, changes, total, fps), cuts, fades };
}

function* joined(
  starts: readonly number[],
  shots: readonly Shot[],
  changes: readonly Change[],
  total: number,
  fps: number,
): Generator<Uint8Array> {
  const shown = (shot: number, frame: number): Uint8Array | undefined =>
    shots[shot]?.((frame - (starts[shot] ?? 0)) / fps);
  let shot = 0;
  for (let frame = 0; frame < total; frame++) {
    while (frame >= (starts[shot + 1] ?? Infinity)) shot++;
    const picture = shown(shot, frame) ?? new Uint8Array();
    const [into, out] = [changes[shot - 1], changes[shot]];
    const since = frame - (starts[shot] ?? 0);
    const until = (starts[shot + 1] ?? Infinity) - frame;
    if (into !== undefined && since < into.frames / 2)
      yield mixed(picture, shown(shot - 1, frame), into, since / (into.frames / 2));
    else if (out !== undefined && until <= out.frames / 2)
      yield mixed(picture, shown(shot + 1, frame), out, (until - 1) / (out.frames / 2));
    else yield picture;
  }
}

/** @param own 0: in the middle of the change, 1: at its edge */
function mixed(picture: Uint8Array, other: Uint8Array | undefined, { kind, level }: Change, own: number): Uint8Array {
  if (kind === 'dissolve')
    return picture.map((value, at) => value * (0.5 + own / 2) + (other?.[at] ?? 0) * (0.5 - own / 2));
  return picture.map((value) => value * own + level * (1 - own));
}

/** A scene that pans, with noise, flicker and things that move; or one of the synthetic world. */
function drawShot(rng: Rng): Shot {
  if (rng.chance(0.3)) {
    const { script } = sampleTruth({ seed: rng.whole(0, 1e6), size: '16:9', sound: true });
    const painter = new FramePainter({ ...script, size: SIZE });
    return (time) => painter.frameAt(Math.min(time, script.duration));
  }
  const [width, height] = SIZE;
  const scene = drawScene(rng);
  const [panX, panY] = [rng.between(-20, 20), rng.between(-6, 6)];
  const [noise, flicker] = [rng.between(0, 6), rng.between(0, 0.03)];
  const grain = new Rng(rng.whole(0, 1e6), 'grain');
  const ball = {
    x: rng.unit(),
    y: rng.unit(),
    speed: rng.between(0.05, 0.5),
    radius: rng.between(4, 16),
    level: rng.whole(0, 255),
  };
  return (time) => {
    const picture = new Uint8Array(width * height * 3);
    const [left, top] = [there(panX * time, width), there(panY * time, height)];
    const light = 1 + flicker * Math.sin(9 * time);
    const [ballX, ballY] = [there((ball.x + ball.speed * time) * width, width), ball.y * height];
    const offset = grain.whole(0, NOISE.length - 1);
    for (let y = 0, at = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        const from = ((y + top) * 2 * width + x + left) * 3;
        const isBall = (x - ballX) ** 2 + (y - ballY) ** 2 < ball.radius ** 2;
        const bright = noise * (NOISE[(at * 7 + offset) % NOISE.length] ?? 0);
        for (let channel = 0; channel < 3; channel++, at++) {
          const level = (isBall ? ball.level : (scene[from + channel] ?? 0)) * light + bright;
          picture[at] = Math.min(255, Math.max(0, level));
        }
      }
    return picture;
  };
}

/** There and back again, without a jump. */
function there(way: number, width: number): number {
  const place = Math.round(Math.abs(way)) % (2 * width);
  return place < width ? place : 2 * width - 1 - place;
}

const NOISE = Float32Array.from(
  { length: 10_007 },
  (
    (rng) => () =>
      rng.between(-1, 1)
  )(new Rng(1, 'noise')),
);

/** [2 height, 2 width, 3]: waves and blocks of colour, some scenes nearly of one brightness. */
function drawScene(rng: Rng): Uint8Array {
  const [width, height] = [2 * SIZE[0], 2 * SIZE[1]];
  const scene = new Uint8Array(width * height * 3);
  const base = [0, 1, 2].map(() => rng.between(25, 200));
  const waves = Array.from({ length: 4 }, () => ({
    x: rng.between(-0.12, 0.12),
    y: rng.between(-0.12, 0.12),
    phase: rng.between(0, 6),
    size: [0, 1, 2].map(() => rng.between(-30, 30)),
  }));
  const blocks = Array.from({ length: rng.whole(2, 8) }, () => ({
    left: rng.between(0, width),
    top: rng.between(0, height),
    width: rng.between(10, 120),
    height: rng.between(10, 90),
    colour: [0, 1, 2].map(() => rng.between(0, 255)),
  }));
  for (let y = 0, at = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const block = blocks.find(
        (one) => x >= one.left && x < one.left + one.width && y >= one.top && y < one.top + one.height,
      );
      for (let channel = 0; channel < 3; channel++, at++) {
        let level = block?.colour[channel] ?? base[channel] ?? 0;
        for (const wave of waves) level += (wave.size[channel] ?? 0) * Math.sin(wave.x * x + wave.y * y + wave.phase);
        scene[at] = Math.min(255, Math.max(0, level));
      }
    }
  return scene;
}

/** Speech has gaps inside words and between them; shorter ones than this are no place to cut. */
const LEAST_GAP_SECONDS = 0.2;
const LOUD = 0.01;

function soundOf(
  rng: Rng,
  seconds: number,
  sound: (typeof SOUNDS)[number],
  voices: readonly Float32Array[],
): { readonly wave: Float32Array; readonly speech: readonly Interval[] } {
  const hiss = 10 ** rng.between(-4.5, -3);
  const wave = Float32Array.from({ length: Math.round(seconds * RATE) }, () => rng.gaussian(hiss));
  if (sound.includes('music')) addMusic(rng, wave, sound === 'music' ? 0.3 : 0.3 * 10 ** -rng.between(0.9, 1.5));
  const speech: { from: number; to: number }[] = [];
  if (!sound.includes('voices')) return { wave, speech };
  const longestPause = sound === 'close voices' ? 0.8 : 4;
  for (let at = rng.between(0, 1); at < seconds;) {
    const voice = rng.pick(voices);
    const loudness = rng.between(0.4, 0.7);
    const first = Math.round(at * RATE);
    for (let index = 0; index < voice.length && first + index < wave.length; index++)
      wave[first + index] = (wave[first + index] ?? 0) + loudness * (voice[index] ?? 0);
    for (const part of spoken(voice)) speech.push({ from: at + part.from, to: at + part.to });
    at += voice.length / RATE + rng.between(0.3, longestPause);
  }
  return { wave: wave.map((level) => Math.min(1, Math.max(-1, level))), speech };
}

function addMusic(rng: Rng, wave: Float32Array, loudness: number): void {
  const beat = rng.between(0.3, 0.7);
  const root = rng.between(150, 300);
  for (let at = 0; at < wave.length; at++) {
    const time = at / RATE;
    const note = root * 2 ** (((Math.floor(time / beat) * 5) % 12) / 12);
    const tone = Math.sin(2 * Math.PI * note * time) + 0.6 * Math.sin(3 * Math.PI * note * time);
    wave[at] = (wave[at] ?? 0) + loudness * tone * (0.5 + 0.15 * Math.sin((2 * Math.PI * time) / beat));
  }
}

/** Where a recording speaks: loud pieces of 10 ms, joined over short gaps. Seconds. */
function spoken(voice: Float32Array): Interval[] {
  const hop = RATE / 100;
  const parts: { from: number; to: number }[] = [];
  for (let piece = 0; (piece + 1) * hop <= voice.length; piece++) {
    let squares = 0;
    for (let at = piece * hop; at < (piece + 1) * hop; at++) squares += (voice[at] ?? 0) ** 2;
    if (Math.sqrt(squares / hop) < LOUD) continue;
    const last = parts.at(-1);
    if (last !== undefined && piece / 100 - last.to < LEAST_GAP_SECONDS) last.to = (piece + 1) / 100;
    else parts.push({ from: piece / 100, to: (piece + 1) / 100 });
  }
  return parts;
}

const SENTENCES = [
  'The train to the coast leaves at nine, and nobody has bought the tickets.',
  'Put the blue cup on the shelf, please.',
  'I never said that the bridge was closed; I said that it would close.',
  'Wait. There is someone at the door.',
  'When the rain stops we can walk down to the river and look for the boat.',
  'Twenty seven people signed the letter, three of them twice.',
  'Who left the window open all night?',
  'It is not far. Turn left at the church and go on until you see the mill.',
];
const SPEAKERS = ['en', 'en-us+f3', 'en-gb+m3', 'en+f2'];

/** Utterances of espeak-ng where it is installed, else the recorded lines of the synthetic world. */
export async function voicesOf(
  recording: Recording,
  signal: AbortSignal,
): Promise<{ readonly voices: readonly Float32Array[]; readonly by: string }> {
  const lines = recordedLines().flatMap((line) => ['man', 'woman'].map((speaker) => recording(speaker, line)));
  const directory = await mkdtemp(join(tmpdir(), 'avocado-bench-voices-'));
  try {
    const voices: Float32Array[] = [];
    for (const [index, sentence] of SENTENCES.entries()) {
      const wav = join(directory, `${index}.wav`);
      const speed = String(130 + 12 * index);
      const speaker = SPEAKERS[index % SPEAKERS.length] ?? 'en';
      await run('espeak-ng', ['-v', speaker, '-s', speed, '-w', wav, sentence], { signal });
      const raw = `${wav}.raw`;
      const coding = ['-ac', '1', '-ar', String(RATE), '-f', 'f32le'];
      await run('ffmpeg', ['-nostdin', '-v', 'error', '-y', '-i', wav, ...coding, raw], { signal });
      voices.push(await readFloats(raw));
    }
    return { voices, by: 'espeak-ng' };
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown;
    return { voices: lines, by: 'recorded lines' };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function readFloats(path: string): Promise<Float32Array> {
  const bytes = Uint8Array.from(await readFile(path));
  return new Float32Array(bytes.buffer, 0, Math.floor(bytes.length / 4));
}
