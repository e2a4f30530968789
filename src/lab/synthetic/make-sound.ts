// The seven sounds of the world. All waves are mono at WORLD.sampleRate, about -1 to 1.
import type { Dice } from './dice.ts';
import { WORLD } from './vocabulary.ts';

/** Samples of rise and fall, so that nothing begins or ends with a click. */
const TONE_EDGE = 160;
const HISS_EDGE = 400;
const STROKE_SAMPLES = 1600;
const STROKE_DECAY = 260;
/** Steps of a tune above its root, in semitones. */
const SCALE = [0, 4, 7, 12, 5, 9];

/** One of WORLD.sounds, a little different each time. */
export function makeSound(dice: Dice, name: string): Float32Array {
  switch (name) {
    case 'beep_high':
      return beep(dice, 1500, 2200);
    case 'beep_low':
      return beep(dice, 230, 380);
    case 'sweep_up':
      return sweep(dice, 1);
    case 'sweep_down':
      return sweep(dice, -1);
    case 'noise':
      return hiss(dice);
    case 'drums':
      return drums(dice);
    case 'melody':
      return melody(dice);
    default:
      throw new Error(`${name} is not a sound of this world. This is a bug.`);
  }
}

function samples(seconds: number): number {
  return Math.floor(seconds * WORLD.sampleRate);
}

function fade(index: number, length: number, edge: number): number {
  return Math.min(1, Math.min(index, length - 1 - index) / edge);
}

/** @param hertz of each moment, `share` 0 to 1 */
function tone(hertz: (share: number) => number, length: number, loudness = 0.4, overtone = 0.25): Float32Array {
  const wave = new Float32Array(length);
  let phase = 0;
  for (let index = 0; index < length; index++) {
    phase += (2 * Math.PI * hertz(index / length)) / WORLD.sampleRate;
    wave[index] = loudness * (Math.sin(phase) + overtone * Math.sin(2 * phase)) * fade(index, length, TONE_EDGE);
  }
  return wave;
}

function beep(dice: Dice, low: number, high: number): Float32Array {
  const hertz = dice.between(low, high);
  return tone(() => hertz, samples(dice.between(0.4, 0.7)));
}

function sweep(dice: Dice, direction: 1 | -1): Float32Array {
  const [seconds, octaves, lowest] = [dice.between(0.7, 1.1), dice.between(1.8, 2.4), dice.between(280, 400)];
  return tone((share) => lowest * 2 ** (octaves * (direction === 1 ? share : 1 - share)), samples(seconds));
}

function hiss(dice: Dice): Float32Array {
  const length = samples(dice.between(0.5, 0.9));
  return Float32Array.from({ length }, (_, index) => dice.gaussian(0.16) * fade(index, length, HISS_EDGE));
}

function melody(dice: Dice): Float32Array {
  const root = dice.between(420, 560);
  const length = samples(0.22);
  const notes = Array.from({ length: dice.whole(4, 6) }, () => {
    const hertz = root * 2 ** (dice.pick(SCALE) / 12);
    return tone(() => hertz, length, 0.35, 0.5);
  });
  const wave = new Float32Array(length * notes.length);
  for (const [index, note] of notes.entries()) wave.set(note, index * length);
  return wave;
}

function drums(dice: Dice): Float32Array {
  const [strokes, gap] = [dice.whole(4, 6), dice.between(0.19, 0.24)];
  const wave = new Float32Array(samples(gap * strokes) + STROKE_SAMPLES / 2);
  for (let stroke = 0; stroke < strokes; stroke++) {
    const hertz = dice.between(150, 190);
    const first = samples(stroke * gap);
    for (let index = 0; index < STROKE_SAMPLES && first + index < wave.length; index++) {
      const skin = 0.5 * Math.sin((2 * Math.PI * hertz * index) / WORLD.sampleRate) + dice.gaussian(0.22);
      wave[first + index] = (wave[first + index] ?? 0) + Math.exp(-index / STROKE_DECAY) * skin;
    }
  }
  return wave;
}
