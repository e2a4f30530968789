// The script of a clip of the hard level: two to five shots with cuts and fades, a moving camera, objects that pass
// each other, people, a dog and a bell that are seen or only heard, words that change, sounds at the same time, music.
import type { Rng } from '../rng.ts';
import {
  beatCount,
  ChangeSampler,
  isTall,
  sampleObjects,
  spanOf,
  type Geometry,
  type SceneObject,
  type SoundEvent,
  type SpeechEvent,
  type VisualEvent,
} from '../script.ts';
import { WORLD } from '../vocabulary.ts';

/** A person, an animal or a thing that is no shape. */
export interface Figure {
  /** a key of WORLD.hard.figures */
  readonly kind: string;
  /** index into WORLD.slots */
  readonly slot: number;
  readonly shift: readonly [number, number];
}

/** `start` and `end` in seconds from the start of the shot. */
interface Span {
  readonly beat: number;
  readonly start: number;
  readonly end: number;
}
/** `move` is a key of WORLD.hard.cameras. */
export interface CameraEvent extends Span {
  readonly kind: 'camera';
  readonly move: string;
}
/** An object goes in front of or behind what stands in the slot beside it. `how` is a key of WORLD.hard.passes. */
export interface PassEvent extends Span {
  readonly kind: 'pass';
  readonly object: number;
  readonly how: string;
  /** the slot of what it passes */
  readonly past: number;
}
/** The word on the screen becomes another. */
export interface WordEvent extends Span {
  readonly kind: 'word';
  readonly to: string;
}
/** The figure does what it can do. */
export interface FigureEvent extends Span {
  readonly kind: 'figure';
}
/** Who speaks is in the picture and moves the mouth, or is off screen. `end` is about when the line ends. */
export interface LineEvent extends SpeechEvent {
  readonly view: 'on' | 'off';
  readonly end: number;
}
export type SeenEvent = VisualEvent | CameraEvent | PassEvent | WordEvent | FigureEvent;
export type HeardEvent = SoundEvent | LineEvent;
export type ShotEvent = SeenEvent | HeardEvent;

export interface Shot {
  /** seconds, from the start of the clip */
  readonly start: number;
  readonly duration: number;
  /** how it begins: a key of WORLD.hard.transitions, null for the first shot */
  readonly transition: string | null;
  readonly background: string;
  readonly texture: string;
  readonly text: string | null;
  readonly objects: readonly SceneObject[];
  readonly figure: Figure | null;
  /** in the order of the caption */
  readonly events: readonly ShotEvent[];
}

export interface HardScript extends Geometry {
  readonly level: 'hard';
  readonly seed: number;
  /** a key of WORLD.hard.music */
  readonly music: string | null;
  /** standard deviation of the noise, full scale = 1 */
  readonly noise: number;
  readonly shots: readonly Shot[];
}

export function isHeard(event: ShotEvent): event is HeardEvent {
  return event.kind === 'sound' || event.kind === 'speech';
}

const MOST_SECONDS = 60;
const MUSIC_SHARE = 0.35;
/** Share of clips whose noise can be heard clearly. */
const NOISY_SHARE = 0.3;

/** Durations of the shots of a clip, seconds: two to five shots, 60 s at most, each a whole number of frames. */
function sampleShots(rng: Rng, fps: number): number[] {
  const count = rng.weighted([2, 3, 4, 5], [45, 30, 15, 10]);
  const shots = Array.from({ length: count }, () => {
    const seconds = rng.chance(0.12) ? rng.between(8, 15) : rng.between(3, 8);
    return Math.round((rng.chance(0.5) ? Math.round(seconds) : seconds) * fps) / fps;
  });
  const total = shots.reduce((sum, seconds) => sum + seconds, 0);
  return total <= MOST_SECONDS
    ? shots
    : shots.map((seconds) => Math.floor(seconds * (MOST_SECONDS / total) * fps) / fps);
}

/** The same for a clip of a given duration. @param duration seconds, at least 6 */
function shotsOf(rng: Rng, fps: number, duration: number): number[] {
  const most = Math.max(2, Math.min(5, Math.floor(duration / 4)));
  const count = Math.min(most, rng.weighted([2, 3, 4, 5], [45, 30, 15, 10]));
  const shares = Array.from({ length: count }, () => rng.between(1, 1.8));
  const total = shares.reduce((sum, share) => sum + share, 0);
  const frames = Math.round(duration * fps);
  const counts = shares.map((share) => Math.floor((frames * share) / total));
  const left = frames - counts.reduce((sum, number) => sum + number, 0);
  return counts.map((number, index) => (number + (index === 0 ? left : 0)) / fps);
}

/**
 * Draws what happens in one clip.
 * @param lines the lines that a speaker may say
 * @param fixed what is not drawn; a `duration` of at least 6 s
 */
export function sampleHardScript(
  seed: number,
  rng: Rng,
  lines: readonly string[],
  fixed: Partial<Geometry> = {},
): HardScript {
  const fps = fixed.fps ?? rng.pick(WORLD.frameRates);
  const drawn = rng.weighted(Object.values(WORLD.sizes), [2, 1, 1]);
  const size = fixed.size ?? drawn;
  const durations = fixed.duration === undefined ? sampleShots(rng, fps) : shotsOf(rng, fps, fixed.duration);
  const shots: Shot[] = [];
  let start = 0;
  for (const duration of durations) {
    shots.push(sampleShot(rng, { start, duration, size, lines, before: shots.at(-1) }));
    start += duration;
  }
  const music = rng.chance(MUSIC_SHARE) ? rng.pick(Object.keys(WORLD.hard.music)) : null;
  const noise = 10 ** (rng.chance(NOISY_SHARE) ? rng.between(-2.4, -1.7) : rng.between(-4.2, -2.7));
  return { level: 'hard', seed, duration: start, fps, size, music, noise, shots };
}

interface ShotFrame {
  readonly start: number;
  readonly duration: number;
  readonly size: Geometry['size'];
  readonly lines: readonly string[];
  readonly before: Shot | undefined;
}

/** Two shots that follow each other differ in their background, else an object that comes and a cut look the same. */
function sampleShot(rng: Rng, { start, duration, size, lines, before }: ShotFrame): Shot {
  const background = rng.pick(Object.keys(WORLD.backgrounds).filter((name) => name !== before?.background));
  const texture = rng.pick(WORLD.textures);
  const text = rng.chance(0.3) ? rng.pick(WORLD.screenWords) : null;
  const candidates = sampleObjects(rng, background, 2);
  const figure = rng.chance(0.5) ? sampleFigure(rng, candidates) : null;
  const beats = beatCount(duration);
  const stage = new Stage({ rng, candidates, figure, text, texture, tall: isTall(size), beats, lines });
  const events = Array.from({ length: beats }, (_, beat) => stage.beat(beat, duration / beats)).flat();
  // An object that never appears is left out; it is the last of the list.
  const changed = new Set(events.flatMap((event) => (event.kind === 'visual' ? [event.object] : [])));
  const objects = candidates.filter(({ hidden }, index) => !hidden || changed.has(index));
  const transition = before === undefined ? null : rng.weighted(Object.keys(WORLD.hard.transitions), [65, 35]);
  return { start, duration, transition, background, texture, text, objects, figure, events };
}

function sampleFigure(rng: Rng, objects: readonly SceneObject[]): Figure {
  const free = [...WORLD.slots.keys()].filter((slot) => objects.every((object) => object.slot !== slot));
  const shift = [rng.between(-0.02, 0.02), rng.between(-0.05, 0.05)] as const;
  return { kind: rng.pick(Object.keys(WORLD.hard.figures)), slot: rng.pick(free), shift };
}

interface StageOptions {
  readonly rng: Rng;
  readonly candidates: readonly SceneObject[];
  readonly figure: Figure | null;
  readonly text: string | null;
  readonly texture: string;
  readonly tall: boolean;
  readonly beats: number;
  readonly lines: readonly string[];
}

type Drawn<T> = T extends { readonly kind: string } ? Omit<T, 'beat' | 'start' | 'end'> : never;

/** Speech of on average 14 characters a second. */
const SECONDS_PER_CHARACTER = 0.07;

/** Draws the events of a shot, beat by beat: at most one that is seen, and at most two that are heard. */
class Stage {
  readonly #of: StageOptions;
  readonly #changes: ChangeSampler;
  #word: string | null;
  #hasPanned = false;

  constructor(options: StageOptions) {
    this.#of = options;
    const { candidates, figure, tall } = options;
    this.#changes = new ChangeSampler(candidates, tall, figure === null ? [] : [figure.slot]);
    this.#word = options.text;
  }

  beat(beat: number, seconds: number): ShotEvent[] {
    const { rng } = this.#of;
    const heard = this.#heard().map((event, index): HeardEvent => {
      const start = (beat + rng.between(0.02, 0.15) + 0.1 * index) * seconds;
      if (event.kind === 'sound') return { ...event, beat, start };
      return { ...event, beat, start, end: start + 0.2 + SECONDS_PER_CHARACTER * event.text.length };
    });
    // A bell in the picture mostly moves when it rings, a dog when it barks.
    const sounds = new Set(heard.map((event) => (event.kind === 'sound' ? event.sound : '')));
    const sounding = this.#of.figure !== null && sounds.has(SOUND_OF_FIGURE[this.#of.figure.kind] ?? '-');
    const seen = rng.chance(0.8) || heard.length === 0 ? this.#seen(beat, sounding) : undefined;
    if (seen === undefined) return heard;
    return [{ ...seen, beat, ...spanOf(rng, beat, seconds) }, ...heard];
  }

  #seen(beat: number, sounding: boolean): Drawn<SeenEvent> | undefined {
    const { rng, figure, beats } = this.#of;
    const canAct = figure !== null && figure.kind in WORLD.hard.figureVerbs;
    if (canAct && rng.chance(sounding ? 0.8 : 0.2)) return { kind: 'figure' };
    if (this.#word !== null && rng.chance(0.2)) {
      const word = this.#word;
      this.#word = null; // it changes once
      return { kind: 'word', to: rng.pick(WORLD.screenWords.filter((other) => other !== word)) };
    }
    const pass = rng.chance(0.35) ? this.#changes.nextPass(rng) : undefined;
    if (pass !== undefined) return { kind: 'pass', ...pass, how: rng.pick(Object.keys(WORLD.hard.passes)) };
    if (this.#canSeePan() && rng.chance(0.2)) {
      this.#hasPanned = true; // once in a shot, so that what stands in it stays in the picture
      return { kind: 'camera', move: rng.pick(Object.keys(WORLD.hard.cameras)) };
    }
    const change = this.#changes.next(rng, beat >= beats - 2);
    return change && { kind: 'visual', ...change };
  }

  /** Before a plain background with one thing, a camera that moves and a thing that moves look the same. */
  #canSeePan(): boolean {
    const { texture, candidates, figure } = this.#of;
    const standing = candidates.filter(({ hidden }) => !hidden).length + (figure === null ? 0 : 1);
    return !this.#hasPanned && (texture !== 'plain' || standing > 1);
  }

  #heard(): Drawn<HeardEvent>[] {
    const { rng } = this.#of;
    const count = rng.weighted([0, 1, 2], [30, 50, 20]);
    if (count === 0) return [];
    const names = [...Object.keys(WORLD.sounds), ...Object.keys(WORLD.hard.sounds)];
    const sounds = rng.some(names, count).map((sound) => ({ kind: 'sound', sound }) as const);
    return rng.chance(0.5) ? [...sounds.slice(1), this.#line()] : sounds;
  }

  #line(): Drawn<LineEvent> {
    const { rng, figure, lines } = this.#of;
    const text = rng.pick(lines);
    const person = figure !== null && figure.kind in WORLD.speakers ? figure.kind : undefined;
    return person !== undefined && rng.chance(0.7)
      ? { kind: 'speech', speaker: person, text, view: 'on' }
      : { kind: 'speech', speaker: rng.pick(Object.keys(WORLD.speakers)), text, view: 'off' };
  }
}

const SOUND_OF_FIGURE: Readonly<Record<string, string>> = { bell: 'ring', dog: 'bark' };
