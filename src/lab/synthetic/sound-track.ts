// The sound track of a script. All waves are mono at WORLD.sampleRate, about -1 to 1.
import { Rng } from './rng.ts';
import type { Script } from './script.ts';
import { WORLD } from './vocabulary.ts';
import type { Recording } from './voices.ts';

/** A share of full scale that makes voices about as loud as tones. */
export const VOICE_LEVEL = 0.7;

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
export function paced(wave: Float32Array, pace: number): Float32Array {
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

export function sampleCount(seconds: number): number {
  return Math.floor(seconds * WORLD.sampleRate);
}

export function fade(index: number, length: number, edge: number): number {
  return Math.min(1, Math.min(index, length - 1 - index) / edge);
}

/** @param hertz the frequency at each `share` of the length, 0 to 1 */
export function tone(hertz: (share: number) => number, length: number, loudness = 0.4, overtone = 0.25): Float32Array {
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
