// A script says what a clip shows and lets hear, and when: one plain object, the same as the recipe's script.py makes.
import type { Dice } from './dice.ts';
import { Stage } from './stage.ts';
import { WORLD } from './vocabulary.ts';

export interface Actor {
  readonly color: string;
  readonly shape: string;
  readonly size: string;
  /** place in WORLD.slots */
  readonly slot: number;
  /** along and across the row of slots, as shares of the picture's sides */
  readonly shift: readonly [number, number];
  /** not there until it appears */
  readonly hidden: boolean;
}

/** `start` and `end` in seconds; `object` is a place in `objects`. */
export interface VisualEvent {
  readonly kind: 'visual';
  readonly beat: number;
  readonly start: number;
  readonly end: number;
  readonly object: number;
  readonly verb: string;
  readonly to?: string;
}
export interface SoundEvent {
  readonly kind: 'sound';
  readonly beat: number;
  readonly start: number;
  readonly sound: string;
}
export interface SpeechEvent {
  readonly kind: 'speech';
  readonly beat: number;
  readonly start: number;
  readonly speaker: string;
  readonly text: string;
}
export type ScriptEvent = VisualEvent | SoundEvent | SpeechEvent;

export interface Geometry {
  /** seconds */
  readonly duration: number;
  readonly fps: number;
  /** width and height, pixels */
  readonly size: readonly [number, number];
}

export interface Script extends Geometry {
  readonly seed: number;
  readonly background: string;
  readonly texture: string;
  /** the word on the screen */
  readonly text: string | null;
  readonly objects: readonly Actor[];
  readonly events: readonly ScriptEvent[];
}

/** Long enough that one pair of sampled frames lies wholly inside the motion. */
const EVENT_SHARE = [0.72, 0.8] as const;
const SILENT_CLIPS = 0.06;

/** Portrait clips line their objects up from top to bottom, all others from left to right. */
export function isTall([width, height]: Geometry['size']): boolean {
  return height > width;
}

/** Beats of about two seconds, aligned with the model's steps of a second however long the clip is. */
export function beatCount(duration: number): number {
  return Math.max(1, Math.floor(Math.floor(duration) / 2));
}

/** As the clips the model was trained on: half of the durations are whole seconds. */
export function sampleGeometry(dice: Dice): Geometry {
  const seconds = dice.weighted([3, 4, 5, 6, 7, 8], [12, 26, 14, 26, 10, 12]);
  const duration = seconds + (dice.chance(0.5) ? 0 : dice.whole(1, 9) / 10);
  return { duration, fps: dice.pick(WORLD.frameRates), size: dice.weighted(Object.values(WORLD.sizes), [2, 1, 1]) };
}

/**
 * What happens in one clip.
 * @param mostObjects 1 to 3; fewer may come
 * @param lines what may be said
 */
export function sampleScript(
  seed: number,
  geometry: Geometry,
  dice: Dice,
  mostObjects: number,
  lines: readonly string[],
): Script {
  const background = dice.pick(Object.keys(WORLD.backgrounds));
  const texture = dice.pick(WORLD.textures);
  const text = dice.chance(0.25) ? dice.pick(WORLD.screenWords) : null;
  const actors = sampleActors(dice, background, mostObjects);
  const silent = dice.chance(SILENT_CLIPS);
  const stage = new Stage(actors, isTall(geometry.size));
  const beats = beatCount(geometry.duration);
  const seconds = geometry.duration / beats;
  const events: ScriptEvent[] = [];
  for (let beat = 0; beat < beats; beat++) {
    const { seen, heard } = dice.weighted(
      [
        { seen: true, heard: false },
        { seen: false, heard: true },
        { seen: true, heard: true },
      ],
      [30, 20, 50],
    );
    const act = seen || silent ? stage.act(dice, beat >= beats - 2) : undefined;
    if (act !== undefined) events.push({ kind: 'visual', beat, ...act, ...spanOf(dice, beat, seconds) });
    if (heard && !silent)
      events.push({ ...sampleSound(dice, lines), beat, start: (beat + dice.between(0.02, 0.15)) * seconds });
  }
  const objects = actors.filter(
    ({ hidden }, index) => !hidden || events.some((event) => event.kind === 'visual' && event.object === index),
  );
  return { seed, ...geometry, background, texture, text, objects, events };
}

function sampleActors(dice: Dice, background: string, most: number): Actor[] {
  const count = dice.weighted([1, 2, 3].slice(0, most), [45, 45, 10]);
  const visible = Object.keys(WORLD.colors).filter((color) => WORLD.hardToSee[background]?.includes(color) !== true);
  const colors = dice.some(visible, count);
  const slots = dice.some([...WORLD.slots.keys()], count).sort();
  // The one that appears later comes last in the list, so that leaving it out changes nobody's number.
  const late = count > 1 && dice.chance(0.25);
  return colors.map((color, index) => ({
    color,
    shape: dice.pick(WORLD.shapes),
    size: dice.pick(Object.keys(WORLD.radii)),
    slot: slots[index] ?? 0,
    shift: [dice.between(-0.02, 0.02), dice.between(-0.05, 0.05)],
    hidden: late && index === count - 1,
  }));
}

function spanOf(dice: Dice, beat: number, seconds: number): { readonly start: number; readonly end: number } {
  const share = dice.between(...EVENT_SHARE);
  const start = (beat + dice.between(0.03, 0.97 - share)) * seconds;
  return { start, end: start + share * seconds };
}

function sampleSound(
  dice: Dice,
  lines: readonly string[],
): Omit<SoundEvent, 'beat' | 'start'> | Omit<SpeechEvent, 'beat' | 'start'> {
  if (dice.chance(0.5))
    return { kind: 'speech', speaker: dice.pick(Object.keys(WORLD.speakers)), text: dice.pick(lines) };
  return { kind: 'sound', sound: dice.pick(Object.keys(WORLD.sounds)) };
}
