// The sound track of a clip of the hard level: sounds and lines that overlap, music under them, and noise.
import { Rng } from '../rng.ts';
import { fade, makeSound, paced, sampleCount, tone, VOICE_LEVEL } from '../sound-track.ts';
import { WORLD } from '../vocabulary.ts';
import type { Recording } from '../voices.ts';
import { isHeard, type HardScript, type HeardEvent } from './hard-script.ts';

/** The recordings of every set of voices; one is drawn for each line. */
export type Voices = readonly Recording[];

/** Where a sound or a line is heard, seconds from the start of the clip. */
export interface HeardSpan {
  readonly shot: number;
  /** its number in the shot */
  readonly event: number;
  readonly start: number;
  readonly end: number;
}

export interface HardSound {
  /** mono at WORLD.sampleRate, as long as the clip, -1 to 1 */
  readonly wave: Float32Array;
  readonly spans: readonly HeardSpan[];
}

export function hardSoundTrack(script: HardScript, voices: Voices): HardSound {
  const rng = new Rng(script.seed, 'sound track');
  const wave = Float32Array.from({ length: sampleCount(script.duration) }, () => rng.gaussian(script.noise));
  if (script.music !== null) mix(wave, playMusic(rng, script.music, wave.length), 0, 1);
  const spans: HeardSpan[] = [];
  for (const [shot, { start, duration, events }] of script.shots.entries()) {
    const ending = Math.min(wave.length, sampleCount(start + duration));
    for (const [event, what] of events.entries()) {
      if (!isHeard(what)) continue;
      const piece = pieceOf(rng, what, voices);
      const loudness = rng.between(0.5, 1.1) * (what.kind === 'speech' ? VOICE_LEVEL : 1);
      // A piece that would end after its shot begins earlier.
      const first = Math.max(0, Math.min(sampleCount(start + what.start), ending - piece.length));
      mix(wave, piece, first, loudness);
      spans.push({ shot, event, start: first / WORLD.sampleRate, end: (first + piece.length) / WORLD.sampleRate });
    }
  }
  return { wave: wave.map((level) => Math.min(1, Math.max(-1, level))), spans };
}

function pieceOf(rng: Rng, event: HeardEvent, voices: Voices): Float32Array {
  if (event.kind === 'speech') return paced(rng.pick(voices)(event.speaker, event.text), rng.between(0.95, 1.06));
  return event.sound in WORLD.hard.sounds ? makeHardSound(rng, event.sound) : makeSound(rng, event.sound);
}

function mix(wave: Float32Array, piece: Float32Array, first: number, loudness: number): void {
  const length = Math.min(piece.length, wave.length - first);
  for (let index = 0; index < length; index++)
    wave[first + index] = (wave[first + index] ?? 0) + loudness * (piece[index] ?? 0);
}

/** One of WORLD.hard.sounds. */
export function makeHardSound(rng: Rng, name: string): Float32Array {
  switch (name) {
    case 'ring':
      return ring(rng);
    case 'bark':
      return bark(rng);
    default:
      throw new Error(`${name} is not a sound of WORLD. This is a bug.`);
  }
}

/** A struck bell: partials that are no multiples of each other (they are what makes it sound like metal). */
const PARTIALS = [
  [1, 1],
  [2.76, 0.6],
  [5.4, 0.3],
] as const;

function ring(rng: Rng): Float32Array {
  const [strokes, hertz] = [rng.whole(2, 3), rng.between(760, 900)];
  const gap = sampleCount(rng.between(0.34, 0.44));
  const wave = new Float32Array(gap * strokes + sampleCount(0.3));
  for (let stroke = 0; stroke < strokes; stroke++) {
    for (let index = stroke * gap; index < wave.length; index++) {
      const seconds = (index - stroke * gap) / WORLD.sampleRate;
      const level = PARTIALS.reduce(
        (sum, [ratio, share]) =>
          sum + share * Math.exp(-seconds * 5 * ratio) * Math.sin(2 * Math.PI * hertz * ratio * seconds),
        0,
      );
      wave[index] = (wave[index] ?? 0) + 0.32 * level;
    }
  }
  return wave;
}

/** Short rough calls whose pitch falls. */
function bark(rng: Rng): Float32Array {
  const [calls, hertz] = [rng.whole(2, 3), rng.between(420, 560)];
  const [length, gap] = [sampleCount(0.16), sampleCount(rng.between(0.28, 0.36))];
  const wave = new Float32Array(gap * (calls - 1) + length);
  for (let call = 0; call < calls; call++) {
    let phase = 0;
    for (let index = 0; index < length; index++) {
      const share = index / length;
      phase += (hertz * (1.25 - 0.7 * share)) / WORLD.sampleRate;
      const saw = 2 * (phase % 1) - 1;
      const rough = saw * (0.75 + rng.gaussian(0.35));
      wave[call * gap + index] = 0.5 * rough * fade(index, length, 400) * (1 - 0.4 * share);
    }
  }
  return wave;
}

/** Semitones above the root: of a slow chord, and of the notes that follow each other quickly. */
const CHORD = [0, 7, 12, 16];
const RIFF = [0, 12, 7, 12, 3, 12, 7, 10];
const MUSIC_LEVEL = 0.05;

/** Music for a whole clip, well below its sounds. @param name a key of WORLD.hard.music @param length samples */
export function playMusic(rng: Rng, name: string, length: number): Float32Array {
  const wave = new Float32Array(length);
  const root = rng.between(110, 150);
  const pitch = (semitones: number): number => root * 2 ** (semitones / 12);
  switch (name) {
    case 'calm': {
      const bar = sampleCount(2.4);
      for (let first = 0, step = 0; first < length; first += bar, step++) {
        const shift = [0, 5, 7, 3][step % 4] ?? 0;
        for (const note of CHORD)
          mix(
            wave,
            tone(() => pitch(note + shift), bar, MUSIC_LEVEL, 0.3),
            first,
            1,
          );
      }
      return wave;
    }
    case 'fast': {
      const note = sampleCount(0.15);
      for (let first = 0, step = 0; first < length; first += note, step++) {
        const hertz = 2 * pitch(RIFF[step % RIFF.length] ?? 0);
        mix(
          wave,
          tone(() => hertz, note, 2 * MUSIC_LEVEL, 0.5),
          first,
          1,
        );
      }
      return wave;
    }
    default:
      throw new Error(`${name} is no music of WORLD. This is a bug.`);
  }
}
