// People, a bell and a dog: how each is drawn, part by part, and how it moves.
import type { Canvas } from '../canvas.ts';
import { box, disc, type Distance } from '../shapes.ts';
import type { Rgb } from '../vocabulary.ts';

/** A part at an offset from the figure's middle, pixels. */
interface Part {
  readonly at: readonly [number, number];
  readonly distance: Distance;
  readonly color: Rgb;
}

/** How a figure stands at one time. */
export interface Pose {
  /** offset upwards in pixels */
  readonly lift: number;
  /** radians, around the middle */
  readonly turn: number;
  readonly isMouthOpen: boolean;
}

export const AT_REST: Pose = { lift: 0, turn: 0, isMouthOpen: false };

/** No part reaches further from the middle, pixels. */
const REACH = 52;
const SKIN: Rgb = [236, 188, 150];
const DARK: Rgb = [40, 34, 34];
const RED: Rgb = [120, 20, 24];
const GOLD: Rgb = [226, 182, 40];
const PALE: Rgb = [238, 228, 216];

const part = (x: number, y: number, distance: Distance, color: Rgb): Part => ({ at: [x, y], distance, color });

function face(isMouthOpen: boolean): Part[] {
  return [
    part(0, 4, disc(28), SKIN),
    part(-10, -2, disc(3.5), DARK),
    part(10, -2, disc(3.5), DARK),
    part(0, 17, isMouthOpen ? disc(8) : box(9, 1.5), RED),
  ];
}

/** From the back to the front. @param kind a key of WORLD.hard.figures */
function partsOf(kind: string, { isMouthOpen }: Pose): Part[] {
  switch (kind) {
    case 'man':
      return [...face(isMouthOpen), part(0, -22, box(22, 7), DARK), part(0, -15, box(32, 2.5), DARK)];
    case 'woman':
      return [part(0, 0, disc(38), RED), part(0, 24, box(37, 16), RED), ...face(isMouthOpen)];
    case 'bell':
      return [
        part(0, 33, disc(8), DARK),
        part(0, -10, disc(20), GOLD),
        part(0, 6, box(20, 16), GOLD),
        part(0, 24, box(30, 5), GOLD),
        part(0, -32, box(3, 6), DARK),
      ];
    case 'dog':
      return [
        part(-16, 26, box(4, 11), DARK),
        part(16, 26, box(4, 11), DARK),
        part(-30, -6, box(3, 12), DARK),
        part(0, 8, box(28, 12), PALE),
        part(27, -8, disc(15), PALE),
        part(18, -14, box(4, 10), DARK),
        part(32, -11, disc(3), DARK),
        part(41, -5, disc(4), DARK),
      ];
    default:
      throw new Error(`${kind} is not a figure of WORLD. This is a bug.`);
  }
}

/** @param x, y the middle in the picture, pixels @param zoom of the camera */
export function paintFigure(canvas: Canvas, kind: string, pose: Pose, x: number, y: number, zoom: number): void {
  const [cosine, sine] = [Math.cos(pose.turn), Math.sin(pose.turn)];
  for (const { at, distance, color } of partsOf(kind, pose)) {
    const placed: Distance = (dx, dy) => {
      const [across, down] = [dx / zoom, dy / zoom];
      return zoom * distance(cosine * across + sine * down - at[0], cosine * down - sine * across - at[1]);
    };
    canvas.paintShape(placed, x, y - pose.lift * zoom, REACH * zoom, color, 1);
  }
}

/** How far a bell swings (radians), how high a dog jumps (pixels), and how often in one event. */
const SWING = 0.6;
const SWINGS = 2;
const JUMP = 26;
const JUMPS = 2;

/** @param done the elapsed share of what the figure does, 0 to 1 */
export function poseDoing(kind: string, done: number): Pose {
  if (done <= 0 || done >= 1) return AT_REST;
  return kind === 'dog'
    ? { ...AT_REST, lift: JUMP * Math.abs(Math.sin(JUMPS * Math.PI * done)) }
    : { ...AT_REST, turn: SWING * Math.sin(2 * SWINGS * Math.PI * done) };
}
