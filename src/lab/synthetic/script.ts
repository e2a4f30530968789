// The script of a synthetic clip says what it shows and plays, and when. It is one plain object, the same as the
// recipe's script.py makes. `sampleScript` draws one at random, and `captionScript` writes its reference caption.
import type { Rng } from './rng.ts';
import { WORLD } from './vocabulary.ts';

export interface SceneObject {
  readonly color: string;
  readonly shape: string;
  readonly size: string;
  /** index into WORLD.slots */
  readonly slot: number;
  /** offset along and across the row of slots, as shares of the picture's sides */
  readonly shift: readonly [number, number];
  /** invisible until its `appear` event */
  readonly hidden: boolean;
}

/** `start` and `end` in seconds; `object` is an index into `objects`. */
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
type ScriptEvent = VisualEvent | SoundEvent | SpeechEvent;

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
  readonly objects: readonly SceneObject[];
  readonly events: readonly ScriptEvent[];
}

/** Portrait clips place their objects from top to bottom, all others from left to right. */
export function isTall([width, height]: Geometry['size']): boolean {
  return height > width;
}

/** An event's share of its beat. Long enough that one pair of sampled frames lies completely inside the motion. */
const EVENT_SHARE = [0.72, 0.8] as const;
const SILENT_CLIPS = 0.06;

/**
 * A beat lasts about two seconds. The count keeps beats aligned with the model's steps of one second, for any duration.
 */
export function beatCount(duration: number): number {
  return Math.max(1, Math.floor(Math.floor(duration) / 2));
}

/** Distributed as in the model's training clips: half of the durations are whole seconds. */
export function sampleGeometry(rng: Rng): Geometry {
  const seconds = rng.weighted([3, 4, 5, 6, 7, 8], [12, 26, 14, 26, 10, 12]);
  const duration = seconds + (rng.chance(0.5) ? 0 : rng.whole(1, 9) / 10);
  return { duration, fps: rng.pick(WORLD.frameRates), size: rng.weighted(Object.values(WORLD.sizes), [2, 1, 1]) };
}

/**
 * Draws what happens in one clip.
 * @param maxObjects 1 to 3; the clip may have fewer
 * @param lines the lines that a speaker may say
 */
export function sampleScript(
  seed: number,
  geometry: Geometry,
  rng: Rng,
  maxObjects: number,
  lines: readonly string[],
): Script {
  const background = rng.pick(Object.keys(WORLD.backgrounds));
  const texture = rng.pick(WORLD.textures);
  const text = rng.chance(0.25) ? rng.pick(WORLD.screenWords) : null;
  const candidates = sampleObjects(rng, background, maxObjects);
  const silent = rng.chance(SILENT_CLIPS);
  const changes = new ChangeSampler(candidates, isTall(geometry.size));
  const beats = beatCount(geometry.duration);
  const seconds = geometry.duration / beats;
  const events: ScriptEvent[] = [];
  for (let beat = 0; beat < beats; beat++) {
    const { seen, heard } = rng.weighted(
      [
        { seen: true, heard: false },
        { seen: false, heard: true },
        { seen: true, heard: true },
      ],
      [30, 20, 50],
    );
    const change = seen || silent ? changes.next(rng, beat >= beats - 2) : undefined;
    if (change !== undefined) events.push({ kind: 'visual', beat, ...change, ...spanOf(rng, beat, seconds) });
    if (heard && !silent)
      events.push({ ...sampleSound(rng, lines), beat, start: (beat + rng.between(0.02, 0.15)) * seconds });
  }
  // An object that never appears is left out.
  const objects = candidates.filter(
    ({ hidden }, index) => !hidden || events.some((event) => event.kind === 'visual' && event.object === index),
  );
  return { seed, ...geometry, background, texture, text, objects, events };
}

export function sampleObjects(rng: Rng, background: string, max: number): SceneObject[] {
  const count = rng.weighted([1, 2, 3].slice(0, max), [45, 45, 10]);
  const visible = Object.keys(WORLD.colors).filter((color) => WORLD.hardToSee[background]?.includes(color) !== true);
  const colors = rng.some(visible, count);
  const slots = rng.some([...WORLD.slots.keys()], count).sort();
  // A hidden object is the last in the list, so that leaving it out does not change the index of another.
  const lastIsHidden = count > 1 && rng.chance(0.25);
  return colors.map((color, index) => ({
    color,
    shape: rng.pick(WORLD.shapes),
    size: rng.pick(Object.keys(WORLD.radii)),
    slot: slots[index] ?? 0,
    shift: [rng.between(-0.02, 0.02), rng.between(-0.05, 0.05)],
    hidden: lastIsHidden && index === count - 1,
  }));
}

export function spanOf(rng: Rng, beat: number, seconds: number): { readonly start: number; readonly end: number } {
  const share = rng.between(...EVENT_SHARE);
  const start = (beat + rng.between(0.03, 0.97 - share)) * seconds;
  return { start, end: start + share * seconds };
}

function sampleSound(
  rng: Rng,
  lines: readonly string[],
): Omit<SoundEvent, 'beat' | 'start'> | Omit<SpeechEvent, 'beat' | 'start'> {
  if (rng.chance(0.5)) return { kind: 'speech', speaker: rng.pick(Object.keys(WORLD.speakers)), text: rng.pick(lines) };
  return { kind: 'sound', sound: rng.pick(Object.keys(WORLD.sounds)) };
}

export type Change = Pick<VisualEvent, 'object' | 'verb' | 'to'>;

/**
 * Draws visual changes one after the other. No object leaves the picture, covers another, or changes after it has
 * vanished.
 */
export class ChangeSampler {
  readonly #objects: readonly SceneObject[];
  /** verbs of a move to the lower slot and to the higher slot */
  readonly #along: readonly [string, string];
  /** verbs of a move across the row of slots, in the negative and the positive direction */
  readonly #across: readonly [string, string];
  readonly #takenSlots: Set<number>;
  readonly #filled: readonly number[];
  readonly #visible: Set<number>;
  /** objects that have vanished or changed colour, which is their last change */
  readonly #ended = new Set<number>();
  readonly #moved = new Set<number>();
  /** net steps across the row and net steps of size so far, each -1 to 1 */
  readonly #offset: number[];
  readonly #scale: number[];

  /** @param filled slots in which something else stands */
  constructor(objects: readonly SceneObject[], tall: boolean, filled: readonly number[] = []) {
    this.#objects = objects;
    this.#along = tall ? ['up', 'down'] : ['left', 'right'];
    this.#across = tall ? ['left', 'right'] : ['up', 'down'];
    this.#takenSlots = new Set([...objects.map(({ slot }) => slot), ...filled]);
    this.#filled = filled;
    this.#visible = new Set(objects.flatMap(({ hidden }, index) => (hidden ? [] : [index])));
    this.#offset = objects.map(() => 0);
    this.#scale = objects.map(() => 0);
  }

  /** The next change; undefined when every object has ended. Near the end of a clip the last object may vanish too. */
  next(rng: Rng, nearEnd: boolean): Change | undefined {
    const live = [...this.#objects.keys()].filter((index) => !this.#ended.has(index));
    if (live.length === 0) return undefined;
    const object = rng.pick(live);
    const verb = this.#visible.has(object) ? rng.pick(this.#verbs(object, nearEnd || live.length > 1)) : 'appear';
    this.#record(object, verb);
    if (verb !== 'recolor') return { object, verb };
    const used = new Set(this.#objects.map(({ color }) => color));
    return { object, verb, to: rng.pick(Object.keys(WORLD.colors).filter((color) => !used.has(color))) };
  }

  /** An object that can go past its neighbour to the free slot beyond, and the slot of that neighbour. */
  nextPass(rng: Rng): { readonly object: number; readonly past: number } | undefined {
    const rests = (index: number): boolean =>
      this.#visible.has(index) && !this.#ended.has(index) && !this.#moved.has(index);
    const resting = [...this.#objects.keys()].filter(rests);
    const found = resting.flatMap((object) => {
      const { slot } = this.#at(object);
      return [-1, 1].flatMap((step) => {
        const past = slot + step;
        const stands = this.#filled.includes(past) || resting.some((other) => this.#at(other).slot === past);
        const beyond = past + step;
        return stands && beyond in WORLD.slots && !this.#takenSlots.has(beyond) ? [{ object, past, beyond }] : [];
      });
    });
    if (found.length === 0) return undefined;
    const { object, past, beyond } = rng.pick(found);
    this.#moved.add(object);
    this.#takenSlots.add(beyond);
    return { object, past };
  }

  /** A verb that is twice in the list is twice as likely. */
  #verbs(object: number, mayEnd: boolean): string[] {
    const { shape, slot } = this.#at(object);
    const [offset, scale] = [this.#offset[object] ?? 0, this.#scale[object] ?? 0];
    const isFree = (index: number): boolean =>
      !this.#moved.has(object) && index in WORLD.slots && !this.#takenSlots.has(index);
    const twice = (verb: string): string[] => [verb, verb];
    return [
      ...(shape === 'circle' ? [] : twice('spin')),
      ...(offset > -1 ? [this.#across[0]] : []),
      ...(offset < 1 ? [this.#across[1]] : []),
      ...(scale > -1 ? ['shrink'] : []),
      ...(scale < 1 ? ['grow'] : []),
      ...(isFree(slot - 1) ? twice(this.#along[0]) : []),
      ...(isFree(slot + 1) ? twice(this.#along[1]) : []),
      ...(mayEnd ? ['vanish', 'recolor'] : []),
    ];
  }

  #record(object: number, verb: string): void {
    this.#visible.add(object);
    if (verb === 'vanish' || verb === 'recolor') this.#ended.add(object);
    const along = this.#along.indexOf(verb);
    if (along !== -1) {
      this.#moved.add(object);
      this.#takenSlots.add(this.#at(object).slot + 2 * along - 1);
    }
    const across = this.#across.indexOf(verb);
    if (across !== -1) this.#offset[object] = (this.#offset[object] ?? 0) + 2 * across - 1;
    if (verb === 'grow' || verb === 'shrink')
      this.#scale[object] = (this.#scale[object] ?? 0) + (verb === 'grow' ? 1 : -1);
  }

  #at(index: number): SceneObject {
    const object = this.#objects[index];
    if (object === undefined) throw new Error(`There is no object ${index} in the scene. This is a bug.`);
    return object;
  }
}

/** The reference caption of a script. @param sound false = the caption says nothing about sound */
export function captionScript(script: Script, sound: boolean): string {
  const sentences = [sceneOf(script)];
  if (script.text !== null) sentences.push(`The word "${script.text}" is shown at the top.`);
  for (const [beat, opening] of WORLD.openings.entries()) {
    const events = script.events.filter((event) => event.beat === beat && (sound || event.kind === 'visual'));
    if (events.length > 0)
      sentences.push(`${opening}, ${events.map((event) => clause(script, event)).join(' while ')}.`);
  }
  if (sound && script.events.every(({ kind }) => kind === 'visual')) sentences.push(WORLD.silence);
  return sentences.join(' ');
}

function sceneOf(script: Script): string {
  const shown = script.objects.filter(({ hidden }) => !hidden).sort((one, other) => one.slot - other.slot);
  const phrases = shown.map((object) => `${phraseOf(object)} ${placeOf(script.size, object.slot)}`);
  const last = phrases.pop() ?? '';
  const list = phrases.length === 0 ? last : `${phrases.join(', ')} and ${last}`;
  return `On ${article(script.texture)} ${script.background} background there is ${list}.`;
}

function clause(script: Script, event: ScriptEvent): string {
  switch (event.kind) {
    case 'speech':
      return `${wordsOf(WORLD.speakers[event.speaker])} says "${event.text}"`;
    case 'sound':
      return `${wordsOf(WORLD.sounds[event.sound])} is heard`;
    case 'visual': {
      const object = script.objects[event.object];
      if (object === undefined) throw new Error(`There is no object ${event.object} in the script. This is a bug.`);
      if (event.verb === 'appear') return `${phraseOf(object)} appears ${placeOf(script.size, object.slot)}`;
      const target = event.to === undefined ? '' : ` ${event.to}`;
      return `the ${object.color} ${object.shape} ${wordsOf(WORLD.verbs[event.verb])}${target}`;
    }
  }
}

export function phraseOf({ size, color, shape }: SceneObject): string {
  return `a ${size} ${color} ${shape}`;
}

export function placeOf(size: Geometry['size'], slot: number): string {
  return wordsOf(WORLD.places[isTall(size) ? 'tall' : 'wide'][slot]);
}

/** `red` → `a red`, `orange` → `an orange` */
export function article(word: string): string {
  return `${/^[aeiou]/.test(word) ? 'an' : 'a'} ${word}`;
}

export function wordsOf(text: string | undefined): string {
  if (text === undefined) throw new Error('The script holds something that WORLD has no words for. This is a bug.');
  return text;
}
