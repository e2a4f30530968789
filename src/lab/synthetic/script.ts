// The script of a synthetic clip says what it shows and plays, and when. It is one plain object, the same as the
// recipe's script.py makes. `captionScript` writes its reference caption.
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
  readonly objects: readonly SceneObject[];
  readonly events: readonly ScriptEvent[];
}

/** Portrait clips place their objects from top to bottom, all others from left to right. */
export function isTall([width, height]: Geometry['size']): boolean {
  return height > width;
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
  const phrases = shown.map((object) => `${phraseOf(object)} ${placeOf(script, object)}`);
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
      if (event.verb === 'appear') return `${phraseOf(object)} appears ${placeOf(script, object)}`;
      const target = event.to === undefined ? '' : ` ${event.to}`;
      return `the ${object.color} ${object.shape} ${wordsOf(WORLD.verbs[event.verb])}${target}`;
    }
  }
}

function phraseOf({ size, color, shape }: SceneObject): string {
  return `a ${size} ${color} ${shape}`;
}

function placeOf(script: Script, { slot }: SceneObject): string {
  return wordsOf(WORLD.places[isTall(script.size) ? 'tall' : 'wide'][slot]);
}

/** `red` → `a red`, `orange` → `an orange` */
function article(word: string): string {
  return `${/^[aeiou]/.test(word) ? 'an' : 'a'} ${word}`;
}

function wordsOf(text: string | undefined): string {
  if (text === undefined) throw new Error('The script holds something that WORLD has no words for. This is a bug.');
  return text;
}
