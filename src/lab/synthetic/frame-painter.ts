// Draws the frames of a script: background, light, the word on the screen, and the objects.
import { Canvas } from './canvas.ts';
import { isTall, type SceneObject, type Script, type VisualEvent } from './script.ts';
import { shapeDistance } from './shapes.ts';
import { WORLD, type Rgb } from './vocabulary.ts';

/** Draws one script. The static parts are drawn once, in the constructor. */
export class FramePainter {
  readonly #script: Script;
  readonly #scene: Canvas;

  constructor(script: Script) {
    this.#script = script;
    this.#scene = new Canvas(script.size);
    this.#scene.paintBackground(script.background, script.texture);
    if (script.text !== null) this.#scene.paintWord(script.text, script.background);
  }

  /**
   * @param time seconds from the start of the clip
   * @returns rgb24, [height, width, 3]
   */
  frameAt(time: number): Uint8Array {
    const canvas = this.#scene.copy();
    for (const { shape, x, y, radius, turn, color, opacity } of objectStates(this.#script, time))
      if (opacity > 0) canvas.paintShape(shapeDistance(shape, radius, turn), x, y, radius, color, opacity);
    return canvas.toFrame();
  }
}

/** Length of a move: pixels across the row of slots, or the share of the distance between two slots. */
const ACROSS_PIXELS = 46;
const ALONG_SHARE = 0.72;
const GROWTH = 0.7;
const SPIN_RADIANS = 2.6;

/** One object at one time. */
export interface ObjectState {
  readonly shape: string;
  /** centre and radius in pixels */
  readonly x: number;
  readonly y: number;
  readonly radius: number;
  /** rotation in radians */
  readonly turn: number;
  readonly color: Rgb;
  /** 0 to 1 */
  readonly opacity: number;
}

type Changing = { -readonly [Key in keyof ObjectState]: ObjectState[Key] };

/** What is needed of a script to know where its objects are. */
type Stage = Pick<Script, 'size' | 'objects' | 'events'>;

/** All objects of a script at one time. @param time seconds from the start of the clip */
export function objectStates(script: Stage, time: number): ObjectState[] {
  return script.objects.map((_, index) => stateOf(script, index, time));
}

/** Where something stands before it moves, pixels. */
export function standingPoint(
  { slot, shift }: Pick<SceneObject, 'slot' | 'shift'>,
  size: Script['size'],
): [x: number, y: number] {
  const [along, across] = [known(WORLD.slots[slot]) + shift[0], 0.54 + shift[1]];
  return isTall(size) ? [across * size[0], along * size[1]] : [along * size[0], across * size[1]];
}

function stateOf(script: Stage, index: number, time: number): ObjectState {
  const object = known(script.objects[index]);
  const [width, height] = script.size;
  const [x, y] = standingPoint(object, script.size);
  const state: Changing = {
    shape: object.shape,
    x,
    y,
    radius: known(WORLD.radii[object.size]),
    turn: 0,
    color: known(WORLD.colors[object.color]),
    opacity: object.hidden ? 0 : 1,
  };
  const step = ALONG_SHARE * (known(WORLD.slots[1]) - known(WORLD.slots[0])) * Math.max(width, height);
  const reach = isTall(script.size) ? { x: ACROSS_PIXELS, y: step } : { x: step, y: ACROSS_PIXELS };
  for (const event of script.events) {
    if (event.kind === 'visual' && event.object === index) change(state, event, progress(event, time), reach);
  }
  return state;
}

/** The elapsed share of the event, 0 to 1. */
export function progress({ start, end }: Pick<VisualEvent, 'start' | 'end'>, time: number): number {
  return Math.min(1, Math.max(0, (time - start) / (end - start)));
}

function change(
  state: Changing,
  event: VisualEvent,
  done: number,
  reach: { readonly x: number; readonly y: number },
): void {
  switch (event.verb) {
    case 'left':
      state.x -= reach.x * done;
      break;
    case 'right':
      state.x += reach.x * done;
      break;
    case 'up':
      state.y -= reach.y * done;
      break;
    case 'down':
      state.y += reach.y * done;
      break;
    case 'grow':
      state.radius *= 1 + GROWTH * done;
      break;
    case 'shrink':
      state.radius /= 1 + GROWTH * done;
      break;
    case 'spin':
      state.turn += SPIN_RADIANS * done;
      break;
    case 'vanish':
      state.opacity = 1 - done;
      break;
    case 'appear':
      state.opacity = done;
      break;
    case 'recolor':
      state.color = mix(state.color, known(WORLD.colors[event.to ?? '']), done);
      break;
    default:
      throw new Error(`${event.verb} is not a verb of WORLD. This is a bug.`);
  }
}

function mix(from: Rgb, to: Rgb, share: number): Rgb {
  return [
    from[0] + (to[0] - from[0]) * share,
    from[1] + (to[1] - from[1]) * share,
    from[2] + (to[2] - from[2]) * share,
  ];
}

function known<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('The script holds something that is not in WORLD. This is a bug.');
  return value;
}
