// What the towers and the decoder are trained on, beside the caption: what every cell of every step of a clip shows,
// and for each piece of the caption where it can be seen and heard.
import type { Piece, Subject } from '../../../src/lab/synthetic/hard/hard-caption.ts';
import { placesAt, shotNumberAt, type Place } from '../../../src/lab/synthetic/hard/hard-painter.ts';
import {
  isHeard,
  type HardScript,
  type LineEvent,
  type SeenEvent,
  type Shot,
  type ShotEvent,
} from '../../../src/lab/synthetic/hard/hard-script.ts';
import type { HeardSpan } from '../../../src/lab/synthetic/hard/hard-sound.ts';
import { objectStates } from '../../../src/lab/synthetic/frame-painter.ts';
import { WORLD } from '../../../src/lab/synthetic/vocabulary.ts';

const TOKENS_PER_SECOND = 25;
/** Share of an event between a step's two frames: below the first no event, above the second an event, else unclear. */
const SEEN_FROM = 0.03;
const CLEAR_FROM = 0.13;
/** A target that counts for nothing. */
const UNCLEAR = -100;
/** Seconds of an event that must lie between a step's two frames. */
const ACTING_FROM = 0.05;
/** An object that is fainter is not seen. */
const LEAST_OPACITY = 0.2;
/** Seconds of a shot, after which its fade is over half. */
const CLEARLY_FADING = 0.45;
const HALF_A_STEP = 0.5;
/** Seconds. */
const WORD_MARGIN = 0.12;

/** Names of the classes, in the order of their numbers. */
export const TABLES = {
  shapes: ['none', ...WORLD.shapes, ...Object.keys(WORLD.hard.figures)],
  colors: ['none', ...Object.keys(WORLD.colors)],
  actions: ['none', ...Object.keys(WORLD.verbs), 'front', 'behind', 'figure', 'speech'],
  sizes: ['none', ...Object.keys(WORLD.radii)],
  cameras: ['none', ...Object.keys(WORLD.hard.cameras)],
  transitions: ['none', ...Object.keys(WORLD.hard.transitions)],
};
const BETWEEN_SIZES = Object.values(WORLD.radii).reduce((sum, radius) => sum + radius, 0) / 2;

/** The merged visual tokens of a step, over a picture of `width` x `height` pixels. */
export interface Grid {
  readonly rows: number;
  readonly columns: number;
  readonly width: number;
  readonly height: number;
}

/** [text, cells as step * cells + cell, first and last token of sound] */
export type Shown = readonly [text: string, see: readonly number[], hear: readonly [number, number] | null];

/** One step: its two frames in one shot, as seconds from the start of that shot. */
interface Step {
  readonly shot: Shot;
  readonly number: number;
  readonly first: number;
  readonly second: number;
  /** its first frame is of the shot before */
  readonly spansCut: boolean;
}

interface ShownInStep {
  /** [rows * columns, 4]: shape, colour, action and size */
  readonly cells: Int8Array;
  /** the cell of each object; undefined where it is not seen */
  readonly objects: readonly (number | undefined)[];
  readonly figure: number | undefined;
}

interface Span {
  readonly start: number;
  readonly end: number;
}

/** An event that takes a time which the script knows; a sound's is known only to its sound track. */
type Lasting = Exclude<ShotEvent, { readonly kind: 'sound' }>;

/** Targets of one clip, whose frames lie at `times`, seconds from its start; two make a step. */
export class HardTargets {
  readonly #script: HardScript;
  readonly #spans: readonly HeardSpan[];
  readonly #grid: Grid;
  readonly #steps: readonly Step[];
  readonly #shown: readonly ShownInStep[];

  constructor(script: HardScript, times: readonly number[], spans: readonly HeardSpan[], grid: Grid) {
    this.#script = script;
    this.#spans = spans;
    this.#grid = grid;
    this.#steps = stepsOf(script, times);
    this.#shown = this.#steps.map((step) => shownIn(script.size, step, grid));
  }

  /** [steps, rows * columns, 4] of shape, colour, action and size. */
  cells(): Buffer {
    return Buffer.concat(this.#shown.map(({ cells }) => Buffer.from(cells.buffer)));
  }

  /** [steps, 4] of background with texture, word, camera and transition. */
  scenes(): Int8Array {
    return Int8Array.from(this.#steps.flatMap((step) => sceneOf(step)));
  }

  /** All sounds in their order: the name of a sound, or a speaker followed by every word. */
  sounds(): string[] {
    return [...this.#spans]
      .sort((one, other) => one.start - other.start)
      .flatMap(({ shot, event }) => {
        const what = this.#script.shots[shot]?.events[event];
        if (what?.kind === 'sound') return [what.sound];
        return what?.kind === 'speech' ? [what.speaker, ...what.text.split(' ')] : [];
      });
  }

  /** The pieces of a caption, each with where it is seen and when it is heard. */
  shown(pieces: readonly Piece[]): Shown[] {
    return pieces.map(({ text, subject }) =>
      subject === undefined ? [text, [], null] : [text, this.#see(subject), this.#hear(subject)],
    );
  }

  #see(subject: Subject): number[] {
    const cells = this.#grid.rows * this.#grid.columns;
    const all = (step: number): number[] => Array.from({ length: cells }, (_, cell) => step * cells + cell);
    const one = (step: number, cell: number | undefined): number[] => (cell === undefined ? [] : [step * cells + cell]);
    const middle = Math.floor(this.#grid.columns / 2);
    const of = this.#stepsOf(subject.shot);
    switch (subject.kind) {
      case 'background':
        return of.slice(0, 2).flatMap(all);
      case 'transition':
        return of.slice(0, 1).flatMap(all);
      case 'screen-word':
        return of.slice(0, 2).flatMap((step) => one(step, middle));
      case 'object':
        return of.slice(0, 2).flatMap((step) => one(step, this.#shown[step]?.objects[subject.object]));
      case 'figure':
        return of.slice(0, 2).flatMap((step) => one(step, this.#shown[step]?.figure));
      default: {
        const event = this.#script.shots[subject.shot]?.events[subject.event];
        if (event === undefined || isHeard(event)) return [];
        const acting = of.filter((step) => this.#actingSeconds(step, event) > ACTING_FROM);
        if (event.kind === 'camera') return acting.flatMap(all);
        if (event.kind === 'word') return acting.flatMap((step) => one(step, middle));
        return acting.flatMap((step) => one(step, this.#cellOfActor(step, event)));
      }
    }
  }

  #stepsOf(shot: number): number[] {
    return [...this.#steps.keys()].filter((step) => this.#steps[step]?.number === shot);
  }

  #actingSeconds(step: number, { start, end }: Span): number {
    const { first = 0, second = 0 } = this.#steps[step] ?? {};
    return Math.min(second, end) - Math.max(first, start);
  }

  #cellOfActor(step: number, event: Exclude<SeenEvent, { kind: 'camera' | 'word' }>): number | undefined {
    const shown = this.#shown[step];
    return event.kind === 'figure' ? shown?.figure : shown?.objects[event.object];
  }

  #hear(subject: Subject): [number, number] | null {
    if (subject.kind !== 'event' && subject.kind !== 'words') return null;
    const event = this.#script.shots[subject.shot]?.events[subject.event];
    const span = this.#spans.find((one) => one.shot === subject.shot && one.event === subject.event);
    if (span === undefined || event === undefined || !isHeard(event)) return null;
    let { start, end } = span;
    if (subject.kind === 'words' && event.kind === 'speech') {
      const pace = (end - start) / event.text.length;
      [start, end] = [start + pace * subject.from - WORD_MARGIN, start + pace * subject.to + WORD_MARGIN];
    }
    return [Math.max(0, Math.floor(start * TOKENS_PER_SECOND)), Math.floor(end * TOKENS_PER_SECOND) + 1];
  }
}

function stepsOf(script: HardScript, times: readonly number[]): Step[] {
  return Array.from({ length: times.length / 2 }, (_, step) => {
    const [first = 0, second = 0] = [times[2 * step], times[2 * step + 1]];
    const number = shotNumberAt(script, second);
    const shot = script.shots[number];
    if (shot === undefined) throw new Error(`No shot is at ${second} s. This is a bug.`);
    const spansCut = shotNumberAt(script, first) !== number;
    return { shot, number, first: Math.max(0, first - shot.start), second: second - shot.start, spansCut };
  });
}

const shareIn = (step: Step, { start, end }: Span): number =>
  (Math.min(step.second, end) - Math.max(step.first, start)) / (end - start);

/** The class of an action that happens in a step. */
function actionIn(step: Step, event: Span, name: string): number {
  return shareIn(step, event) > CLEAR_FROM ? TABLES.actions.indexOf(name) : UNCLEAR;
}

/** The first event of a step that is of interest. */
function eventIn<Kind extends Lasting>(step: Step, isWanted: (event: ShotEvent) => event is Kind): Kind | undefined {
  return step.shot.events.filter(isWanted).find((event) => shareIn(step, event) > SEEN_FROM);
}

function cellOf({ x, y }: Place, grid: Grid): number {
  const column = Math.min(Math.max(Math.floor((x / grid.width) * grid.columns), 0), grid.columns - 1);
  const row = Math.min(Math.max(Math.floor((y / grid.height) * grid.rows), 0), grid.rows - 1);
  return row * grid.columns + column;
}

function nearestColor(color: readonly number[]): number {
  const distance = (rgb: readonly number[]): number =>
    rgb.reduce((sum, level, index) => sum + Math.abs(level - (color[index] ?? 0)), 0);
  const distances = Object.values(WORLD.colors).map(distance);
  return 1 + distances.indexOf(Math.min(...distances));
}

/** What a step shows, and where, halfway between its frames. */
function shownIn(size: HardScript['size'], step: Step, grid: Grid): ShownInStep {
  const { shot } = step;
  const middle = (step.first + step.second) / 2;
  const places = placesAt(shot, size, middle);
  const cells = new Int8Array(grid.rows * grid.columns * 4);
  const figure = places.figure === null ? undefined : cellOf(places.figure, grid);
  if (shot.figure !== null && figure !== undefined)
    cells.set([TABLES.shapes.indexOf(shot.figure.kind), 0, figureAction(step), 0], figure * 4);
  const events = shot.events.filter((event) => event.kind === 'visual');
  const states = objectStates({ size, objects: shot.objects, events }, middle);
  const objects = shot.objects.map(({ shape }, index) => {
    const [place, state] = [places.objects[index], states[index]];
    if (place === undefined || state === undefined || place.opacity < LEAST_OPACITY) return undefined;
    const cell = cellOf(place, grid);
    const looks = TABLES.sizes.indexOf(state.radius > BETWEEN_SIZES ? 'large' : 'small');
    const row = [TABLES.shapes.indexOf(shape), nearestColor(state.color), objectAction(step, index), looks];
    cells.set(row, cell * 4);
    return cell;
  });
  return { cells, objects, figure };
}

function figureAction(step: Step): number {
  const act = eventIn(step, (event) => event.kind === 'figure');
  if (act !== undefined) return actionIn(step, act, 'figure');
  const line = eventIn(step, (event): event is LineEvent => event.kind === 'speech' && event.view === 'on');
  return line === undefined ? 0 : TABLES.actions.indexOf('speech');
}

function objectAction(step: Step, object: number): number {
  const changes = step.shot.events.filter((event) => event.kind === 'visual' || event.kind === 'pass');
  const event = changes.find((one) => one.object === object && shareIn(step, one) > SEEN_FROM);
  return event === undefined ? 0 : actionIn(step, event, event.kind === 'visual' ? event.verb : event.how);
}

/** Background with texture, word, camera and transition of a step, as class numbers. */
function sceneOf(step: Step): number[] {
  const { shot } = step;
  const background =
    Object.keys(WORLD.backgrounds).indexOf(shot.background) * WORLD.textures.length +
    WORLD.textures.indexOf(shot.texture);
  const change = shot.events.find((event) => event.kind === 'word');
  const isChanged = change !== undefined && step.second > (change.start + change.end) / 2;
  const word = isChanged ? change.to : shot.text;
  const camera = eventIn(step, (event) => event.kind === 'camera');
  const isClear = camera !== undefined && shareIn(step, camera) > CLEAR_FROM;
  const move = camera === undefined ? 0 : isClear ? TABLES.cameras.indexOf(camera.move) : UNCLEAR;
  return [background, word === null ? 0 : 1 + WORLD.screenWords.indexOf(word), move, transitionIn(step)];
}

/** A single step shows a cut only where it lies between its two frames. */
function transitionIn({ shot, first, spansCut }: Step): number {
  if (shot.transition === null) return 0;
  const isFading = shot.transition === 'fade' && first <= CLEARLY_FADING;
  if (spansCut || isFading) return TABLES.transitions.indexOf(shot.transition);
  return first < HALF_A_STEP ? UNCLEAR : 0;
}
