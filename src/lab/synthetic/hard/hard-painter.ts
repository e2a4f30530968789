// Draws the frames of a clip of the hard level: shots, cuts and fades, the camera, objects, figures and words.
import { Canvas, seen, STILL, type View } from '../canvas.ts';
import { objectStates, progress, standingPoint, type ObjectState } from '../frame-painter.ts';
import { isTall, type Geometry } from '../script.ts';
import { shapeDistance } from '../shapes.ts';
import { WORLD } from '../vocabulary.ts';
import { AT_REST, paintFigure, poseDoing, type Pose } from './figures.ts';
import type { HardScript, PassEvent, Shot } from './hard-script.ts';

const FADE_SECONDS = 0.6;
/** How far the camera pans, as a share of the picture's width, and how much it zooms. */
const PAN = 0.12;
const ZOOM = 1.4;
/** A mouth opens and closes so often a second. */
const MOUTH_RATE = 4;

/** Where something is in the picture: the middle, in pixels; opacity 0 to 1. */
export interface Place {
  readonly x: number;
  readonly y: number;
  readonly opacity: number;
}

/** Draws the shots of one clip, in any order of time; fastest from first to last. */
export class HardPainter {
  readonly #script: HardScript;
  #shot: { readonly number: number; readonly painter: ShotPainter; readonly before: Uint8Array | undefined };

  constructor(script: HardScript) {
    this.#script = script;
    this.#shot = this.#open(0);
  }

  /** @param time seconds from the start of the clip @returns rgb24, [height, width, 3] */
  frameAt(time: number): Uint8Array {
    const number = shotNumberAt(this.#script, time);
    if (number !== this.#shot.number) this.#shot = this.#open(number);
    const since = time - shotOf(this.#script, number).start;
    const frame = this.#shot.painter.frameAt(since);
    const { before } = this.#shot;
    if (before === undefined || since >= FADE_SECONDS) return frame;
    const share = since / FADE_SECONDS;
    return frame.map((level, index) => Math.round((before[index] ?? 0) * (1 - share) + level * share));
  }

  #open(number: number): { number: number; painter: ShotPainter; before: Uint8Array | undefined } {
    const shot = shotOf(this.#script, number);
    const painter = new ShotPainter(shot, this.#script.size);
    if (shot.transition !== 'fade') return { number, painter, before: undefined };
    const last = shotOf(this.#script, number - 1);
    return { number, painter, before: new ShotPainter(last, this.#script.size).frameAt(last.duration) };
  }
}

/** The number of the shot that is shown at a time. */
export function shotNumberAt({ shots }: HardScript, time: number): number {
  // A frame at a cut is the first of the new shot, however the two numbers were rounded.
  return Math.max(
    0,
    shots.findLastIndex(({ start }) => time > start - 1e-6),
  );
}

function shotOf({ shots }: HardScript, number: number): Shot {
  const shot = shots[number];
  if (shot === undefined) throw new Error(`The clip has no shot ${number}. This is a bug.`);
  return shot;
}

class ShotPainter {
  readonly #shot: Shot;
  readonly #size: Geometry['size'];
  /** background seen by a camera that has not moved */
  readonly #scene: Canvas;

  constructor(shot: Shot, size: Geometry['size']) {
    this.#shot = shot;
    this.#size = size;
    this.#scene = new Canvas(size);
    this.#scene.paintBackground(shot.background, shot.texture);
  }

  /** @param time seconds from the start of the shot */
  frameAt(time: number): Uint8Array {
    const view = viewAt(this.#shot, this.#size, time);
    const canvas = view === STILL ? this.#scene.copy() : new Canvas(this.#size);
    if (view !== STILL) canvas.paintBackground(this.#shot.background, this.#shot.texture, view);
    this.#paintWord(canvas, time);
    const states = statesAt(this.#shot, this.#size, time);
    const orders = this.#shot.objects.map((_, index) => depthOf(this.#shot, index));
    this.#paintObjects(canvas, view, states, orders, 'behind');
    this.#paintFigure(canvas, view, time);
    this.#paintObjects(canvas, view, states, orders, 'front');
    return canvas.toFrame();
  }

  #paintWord(canvas: Canvas, time: number): void {
    const { text, background, events } = this.#shot;
    if (text === null) return;
    const change = events.find((event) => event.kind === 'word');
    const done = change === undefined ? 0 : progress(change, time);
    if (done < 1) canvas.paintWord(text, background, 1 - done);
    if (change !== undefined && done > 0) canvas.paintWord(change.to, background, done);
  }

  #paintObjects(
    canvas: Canvas,
    view: View,
    states: readonly ObjectState[],
    depths: readonly Depth[],
    depth: Depth,
  ): void {
    for (const [index, { shape, x, y, radius, turn, color, opacity }] of states.entries()) {
      if (opacity === 0 || depths[index] !== depth) continue;
      const [left, top] = seen(view, this.#size, x, y);
      const shown = radius * view.zoom;
      canvas.paintShape(shapeDistance(shape, shown, turn), left, top, shown, color, opacity);
    }
  }

  #paintFigure(canvas: Canvas, view: View, time: number): void {
    const { figure } = this.#shot;
    if (figure === null) return;
    const [x, y] = seen(view, this.#size, ...standingPoint(figure, this.#size));
    paintFigure(canvas, figure.kind, poseAt(this.#shot, time), x, y, view.zoom);
  }
}

/**
 * Where the objects of a shot are in the picture, and where its figure is.
 * @param time seconds from the start of the shot
 */
export function placesAt(shot: Shot, size: Geometry['size'], time: number): { objects: Place[]; figure: Place | null } {
  const view = viewAt(shot, size, time);
  const place = (x: number, y: number, opacity: number): Place => {
    const [left, top] = seen(view, size, x, y);
    return { x: left, y: top, opacity };
  };
  return {
    objects: statesAt(shot, size, time).map(({ x, y, opacity }) => place(x, y, opacity)),
    figure: shot.figure === null ? null : place(...standingPoint(shot.figure, size), 1),
  };
}

/** What passes behind something is drawn before it, everything else in the order of the list. */
type Depth = 'behind' | 'front';

/** An object that stands where something passes in front of it, or that passes behind something, is behind. */
function depthOf({ events, objects }: Shot, index: number): Depth {
  const passes = events.filter((event): event is PassEvent => event.kind === 'pass');
  const isPassed = passes.some(({ past, how }) => how === 'front' && objects[index]?.slot === past);
  return isPassed || passes.some(({ object, how }) => how === 'behind' && object === index) ? 'behind' : 'front';
}

function statesAt(shot: Shot, size: Geometry['size'], time: number): ObjectState[] {
  const changes = shot.events.filter((event) => event.kind === 'visual');
  const states = objectStates({ size, objects: shot.objects, events: changes }, time);
  const [first = 0, second = 0] = WORLD.slots;
  for (const event of shot.events) {
    if (event.kind !== 'pass') continue;
    const state = states[event.object];
    const from = shot.objects[event.object]?.slot ?? event.past;
    if (state === undefined) continue;
    const way = 2 * (event.past - from) * (second - first) * progress(event, time);
    states[event.object] = isTall(size)
      ? { ...state, y: state.y + way * size[1] }
      : { ...state, x: state.x + way * size[0] };
  }
  return states;
}

function viewAt({ events }: Shot, [width]: Geometry['size'], time: number): View {
  const event = events.find(({ kind }) => kind === 'camera');
  if (event?.kind !== 'camera') return STILL;
  const done = progress(event, time);
  if (done === 0) return STILL;
  switch (event.move) {
    case 'left':
      return { ...STILL, x: -PAN * width * done };
    case 'right':
      return { ...STILL, x: PAN * width * done };
    case 'in':
      return { ...STILL, zoom: ZOOM ** done };
    case 'out':
      return { ...STILL, zoom: ZOOM ** -done };
    default:
      throw new Error(`${event.move} is not a camera move of WORLD. This is a bug.`);
  }
}

function poseAt({ events, figure }: Shot, time: number): Pose {
  const during = events.filter((event) => 'end' in event && event.start <= time && time < event.end);
  const speaks = during.some((event) => event.kind === 'speech' && event.view === 'on');
  if (speaks) return { ...AT_REST, isMouthOpen: Math.floor(2 * MOUTH_RATE * time) % 2 === 0 };
  const act = during.find((event) => event.kind === 'figure');
  return act?.kind === 'figure' ? poseDoing(figure?.kind ?? '', progress(act, time)) : AT_REST;
}
