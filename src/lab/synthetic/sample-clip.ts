// Makes a synthetic clip and the truth about it: what `avocado sample` writes.
import { rename, rm, stat, writeFile } from 'node:fs/promises';
import { AvocadoError } from '../../base/errors.ts';
import { encodeMp4 } from '../../media/encode-mp4.ts';
import { FramePainter } from './frame-painter.ts';
import { readCaption } from './read-caption.ts';
import { Rng } from './rng.ts';
import { dialogueOf, keypointsOf, type Keypoint, type SpokenLine } from './score-caption.ts';
import { captionScript, sampleGeometry, sampleScript, type Script } from './script.ts';
import { WORLD } from './vocabulary.ts';
import { openVoices, recordedLines, type Recording } from './voices.ts';

export interface ClipOptions {
  /** whole number of at least 0 */
  readonly seed: number;
  /** 3 to 16, the range of the model's training clips; undefined = drawn with the seed, like size and objects */
  readonly seconds?: number | undefined;
  /** a key of WORLD.sizes */
  readonly size?: string | undefined;
  /** exact number, 1 to 3 */
  readonly objects?: number | undefined;
  /** false = no sound track, and a caption that says nothing about sound */
  readonly sound: boolean;
}

/** The contents of a clip, with which a caption of it is compared. */
export interface ClipTruth {
  readonly caption: string;
  readonly dialogue: readonly SpokenLine[];
  readonly keypoints: readonly Keypoint[];
  readonly sound: boolean;
  readonly script: Script;
}

const MAX_OBJECTS = 2;

/** Deterministic: the same options give the same truth. */
export function sampleTruth(options: ClipOptions): ClipTruth {
  const { seed, seconds, size, objects, sound } = options;
  const drawn = sampleGeometry(new Rng(seed, 'geometry'));
  const geometry = { ...drawn, duration: seconds ?? drawn.duration, size: WORLD.sizes[size ?? ''] ?? drawn.size };
  const rng = new Rng(seed, 'script');
  const lines = recordedLines();
  let script = sampleScript(seed, geometry, rng, objects ?? MAX_OBJECTS, lines);
  while (objects !== undefined && script.objects.length !== objects)
    script = sampleScript(seed, geometry, rng, objects, lines);
  const caption = captionScript(script, sound);
  return { caption, dialogue: dialogueOf(caption), keypoints: keypointsOf(readCaption(caption)), sound, script };
}

/**
 * Writes a new clip, and its truth beside it.
 * @param out ends in .mp4; the truth has the same name with .json. Existing files are overwritten.
 * @throws AvocadoError `bad_request` when it cannot be written there, `ffmpeg_missing`, `aborted`
 */
export async function sampleClip(options: ClipOptions, out: string, signal: AbortSignal): Promise<ClipTruth> {
  const truth = sampleTruth(options);
  const { script } = truth;
  const unfinished = `${out}.part`;
  await wrapWriteError(unfinished, writeFile(unfinished, ''));
  try {
    await refuseDirectory(out);
    const sound = truth.sound
      ? { wave: soundTrack(script, await recordingsFor(truth, signal)), sampleRate: WORLD.sampleRate }
      : undefined;
    await encodeMp4({ size: script.size, fps: script.fps, frames: framesOf(script), sound }, unfinished, signal);
    await wrapWriteError(truthPath(out), writeFile(truthPath(out), `${JSON.stringify(truth, null, 1)}\n`));
    await wrapWriteError(out, rename(unfinished, out));
  } finally {
    await rm(unfinished, { force: true });
  }
  return truth;
}

/** `clip.mp4` → `clip.json` */
export function truthPath(out: string): string {
  return out.replace(/\.mp4$/i, '.json');
}

/** The recordings are decoded only for a clip with speech, because that takes a moment. */
async function recordingsFor({ dialogue }: ClipTruth, signal: AbortSignal): Promise<Recording> {
  if (dialogue.length > 0) return openVoices(signal);
  return () => {
    throw new Error('The script has a spoken line that the caption lacks. This is a bug.');
  };
}

/** All frames of a script, rgb24. */
export function* framesOf(script: Script): Generator<Uint8Array> {
  const painter = new FramePainter(script);
  const count = Math.round(script.duration * script.fps);
  for (let index = 0; index < count; index++) yield painter.frameAt(index / script.fps);
}

async function refuseDirectory(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory() === true)
    throw new AvocadoError('bad_request', `${path} is a directory. Name a file.`, { param: 'file' });
}

async function wrapWriteError(path: string, writing: Promise<void>): Promise<void> {
  await writing.catch((cause: unknown) => {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new AvocadoError(
      'bad_request',
      `${path} cannot be written: ${reason}. Name a file in a directory that exists and that you may write to.`,
      { cause, param: 'file' },
    );
  });
}

// The sound track of a script. All waves are mono at WORLD.sampleRate, about -1 to 1.

/** A share of full scale that makes voices about as loud as tones. */
const VOICE_LEVEL = 0.7;

/** The sounds and lines of a script over faint noise: mono at WORLD.sampleRate, as long as the clip, -1 to 1. */
export function soundTrack(script: Script, recording: Recording): Float32Array {
  const rng = new Rng(script.seed, 'sound track');
  const hiss = 10 ** rng.between(-4.2, -2.7);
  const wave = Float32Array.from({ length: Math.round(script.duration * WORLD.sampleRate) }, () => rng.gaussian(hiss));
  for (const event of script.events) {
    if (event.kind === 'visual') continue;
    const piece =
      event.kind === 'sound'
        ? makeSound(rng, event.sound)
        : paced(recording(event.speaker, event.text), rng.between(0.95, 1.06));
    const loudness = rng.between(0.5, 1.1) * (event.kind === 'speech' ? VOICE_LEVEL : 1);
    // A piece that would end after the clip begins earlier.
    const first = Math.max(0, Math.min(Math.floor(event.start * WORLD.sampleRate), wave.length - piece.length));
    for (let index = 0; index < piece.length && first + index < wave.length; index++) {
      wave[first + index] = (wave[first + index] ?? 0) + loudness * (piece[index] ?? 0);
    }
  }
  return wave.map((level) => Math.min(1, Math.max(-1, level)));
}

/** A recording played faster or slower, by linear interpolation. */
function paced(wave: Float32Array, pace: number): Float32Array {
  return Float32Array.from({ length: Math.floor(wave.length / pace) }, (_, index) => {
    const at = Math.floor(index * pace);
    const [before, after] = [wave[at] ?? 0, wave[at + 1] ?? wave[at] ?? 0];
    return before + (after - before) * (index * pace - at);
  });
}

/** Fade in and out, in samples, so that no sound begins or ends with a click. */
const TONE_EDGE = 160;
const HISS_EDGE = 400;
const STROKE_SAMPLES = 1600;
const STROKE_DECAY = 260;
/** Notes of a melody above its root, in semitones. */
const SCALE = [0, 4, 7, 12, 5, 9];

/** One of WORLD.sounds, with random pitch and length. @param name a key of WORLD.sounds */
export function makeSound(rng: Rng, name: string): Float32Array {
  switch (name) {
    case 'beep_high':
      return beep(rng, 1500, 2200);
    case 'beep_low':
      return beep(rng, 230, 380);
    case 'sweep_up':
      return sweep(rng, 1);
    case 'sweep_down':
      return sweep(rng, -1);
    case 'noise':
      return hiss(rng);
    case 'drums':
      return drums(rng);
    case 'melody':
      return melody(rng);
    default:
      throw new Error(`${name} is not a sound of WORLD. This is a bug.`);
  }
}

function sampleCount(seconds: number): number {
  return Math.floor(seconds * WORLD.sampleRate);
}

function fade(index: number, length: number, edge: number): number {
  return Math.min(1, Math.min(index, length - 1 - index) / edge);
}

/** @param hertz the frequency at each `share` of the length, 0 to 1 */
function tone(hertz: (share: number) => number, length: number, loudness = 0.4, overtone = 0.25): Float32Array {
  const wave = new Float32Array(length);
  let phase = 0;
  for (let index = 0; index < length; index++) {
    phase += (2 * Math.PI * hertz(index / length)) / WORLD.sampleRate;
    wave[index] = loudness * (Math.sin(phase) + overtone * Math.sin(2 * phase)) * fade(index, length, TONE_EDGE);
  }
  return wave;
}

function beep(rng: Rng, low: number, high: number): Float32Array {
  const hertz = rng.between(low, high);
  return tone(() => hertz, sampleCount(rng.between(0.4, 0.7)));
}

function sweep(rng: Rng, direction: 1 | -1): Float32Array {
  const [seconds, octaves, lowest] = [rng.between(0.7, 1.1), rng.between(1.8, 2.4), rng.between(280, 400)];
  return tone((share) => lowest * 2 ** (octaves * (direction === 1 ? share : 1 - share)), sampleCount(seconds));
}

function hiss(rng: Rng): Float32Array {
  const length = sampleCount(rng.between(0.5, 0.9));
  return Float32Array.from({ length }, (_, index) => rng.gaussian(0.16) * fade(index, length, HISS_EDGE));
}

function melody(rng: Rng): Float32Array {
  const root = rng.between(420, 560);
  const length = sampleCount(0.22);
  const notes = Array.from({ length: rng.whole(4, 6) }, () => {
    const hertz = root * 2 ** (rng.pick(SCALE) / 12);
    return tone(() => hertz, length, 0.35, 0.5);
  });
  const wave = new Float32Array(length * notes.length);
  for (const [index, note] of notes.entries()) wave.set(note, index * length);
  return wave;
}

function drums(rng: Rng): Float32Array {
  const [strokes, gap] = [rng.whole(4, 6), rng.between(0.19, 0.24)];
  const wave = new Float32Array(sampleCount(gap * strokes) + STROKE_SAMPLES / 2);
  for (let stroke = 0; stroke < strokes; stroke++) {
    const hertz = rng.between(150, 190);
    const first = sampleCount(stroke * gap);
    for (let index = 0; index < STROKE_SAMPLES && first + index < wave.length; index++) {
      const skin = 0.5 * Math.sin((2 * Math.PI * hertz * index) / WORLD.sampleRate) + rng.gaussian(0.22);
      wave[first + index] = (wave[first + index] ?? 0) + Math.exp(-index / STROKE_DECAY) * skin;
    }
  }
  return wave;
}
