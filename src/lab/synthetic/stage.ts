import type { Dice } from './dice.ts';
import type { Actor, VisualEvent } from './script.ts';
import { WORLD } from './vocabulary.ts';

export type StageAct = Pick<VisualEvent, 'object' | 'verb' | 'to'>;

/** What each object may still do: nothing moves out of the picture, onto another, or after it has gone. */
export class Stage {
  readonly #actors: readonly Actor[];
  /** the verbs of a move to a lower and to a higher slot, and of one across the row of slots */
  readonly #along: readonly [string, string];
  readonly #across: readonly [string, string];
  readonly #taken: Set<number>;
  readonly #shown: Set<number>;
  readonly #ended = new Set<number>();
  readonly #moved = new Set<number>();
  /** steps across the row and steps of size taken so far, each -1 to 1 */
  readonly #offset: number[];
  readonly #scale: number[];

  constructor(actors: readonly Actor[], tall: boolean) {
    this.#actors = actors;
    this.#along = tall ? ['up', 'down'] : ['left', 'right'];
    this.#across = tall ? ['left', 'right'] : ['up', 'down'];
    this.#taken = new Set(actors.map(({ slot }) => slot));
    this.#shown = new Set(actors.flatMap(({ hidden }, index) => (hidden ? [] : [index])));
    this.#offset = actors.map(() => 0);
    this.#scale = actors.map(() => 0);
  }

  /** The next change; undefined when nobody can act any more. Near the end of a clip everyone may leave. */
  act(dice: Dice, nearEnd: boolean): StageAct | undefined {
    const live = [...this.#actors.keys()].filter((index) => !this.#ended.has(index));
    if (live.length === 0) return undefined;
    const object = dice.pick(live);
    const verb = this.#shown.has(object) ? dice.pick(this.#verbs(object, nearEnd || live.length > 1)) : 'appear';
    this.#note(object, verb);
    if (verb !== 'recolor') return { object, verb };
    const worn = new Set(this.#actors.map(({ color }) => color));
    return { object, verb, to: dice.pick(Object.keys(WORLD.colors).filter((color) => !worn.has(color))) };
  }

  /** Twice in the list is twice as likely. */
  #verbs(object: number, mayEnd: boolean): string[] {
    const { shape, slot } = this.#actor(object);
    const [offset, scale] = [this.#offset[object] ?? 0, this.#scale[object] ?? 0];
    const free = (place: number): boolean =>
      !this.#moved.has(object) && place in WORLD.slots && !this.#taken.has(place);
    const twice = (verb: string): string[] => [verb, verb];
    return [
      ...(shape === 'circle' ? [] : twice('spin')),
      ...(offset > -1 ? [this.#across[0]] : []),
      ...(offset < 1 ? [this.#across[1]] : []),
      ...(scale > -1 ? ['shrink'] : []),
      ...(scale < 1 ? ['grow'] : []),
      ...(free(slot - 1) ? twice(this.#along[0]) : []),
      ...(free(slot + 1) ? twice(this.#along[1]) : []),
      ...(mayEnd ? ['vanish', 'recolor'] : []),
    ];
  }

  #note(object: number, verb: string): void {
    this.#shown.add(object);
    if (verb === 'vanish' || verb === 'recolor') this.#ended.add(object);
    const along = this.#along.indexOf(verb);
    if (along !== -1) {
      this.#moved.add(object);
      this.#taken.add(this.#actor(object).slot + 2 * along - 1);
    }
    const across = this.#across.indexOf(verb);
    if (across !== -1) this.#offset[object] = (this.#offset[object] ?? 0) + 2 * across - 1;
    if (verb === 'grow' || verb === 'shrink')
      this.#scale[object] = (this.#scale[object] ?? 0) + (verb === 'grow' ? 1 : -1);
  }

  #actor(object: number): Actor {
    const actor = this.#actors[object];
    if (actor === undefined) throw new Error(`There is no object ${object} on the stage. This is a bug.`);
    return actor;
  }
}
