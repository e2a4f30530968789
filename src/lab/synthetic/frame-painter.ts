// Draws the frames of a script: background, light, the word on the screen, and the objects.
import { readFileSync } from 'node:fs';
import { inflateSync } from 'node:zlib';
import { isTall, type Script, type VisualEvent } from './script.ts';
import { modelFile, WORLD, type Rgb } from './vocabulary.ts';

/** Brightness gradient in levels, from the upper left, so that a patch of plain background shows its position. */
const LIGHT = 16;
/** Levels between the two tones of a pattern; on the one bright background the second tone is darker. */
const CONTRAST = 24;
const BRIGHT = { background: 'beige', contrast: -28, ink: 20 };
const INK = 240;

/** Draws one script. The static parts are drawn once, in the constructor. */
export class FramePainter {
  readonly #script: Script;
  readonly #width: number;
  readonly #height: number;
  /** [height, width, 3], levels */
  readonly #scene: Float32Array;
  readonly #light: Float32Array;

  constructor(script: Script) {
    this.#script = script;
    [this.#width, this.#height] = script.size;
    this.#scene = new Float32Array(this.#width * this.#height * 3);
    this.#light = new Float32Array(this.#scene.length);
    this.#paintBackground();
    this.#paintLight();
    if (script.text !== null) this.#paintWord(script.text);
  }

  /**
   * @param time seconds from the start of the clip
   * @returns rgb24, [height, width, 3]
   */
  frameAt(time: number): Uint8Array {
    const picture = this.#scene.slice();
    for (const state of objectStates(this.#script, time)) if (state.opacity > 0) this.#paint(picture, state);
    const rounded = new Uint8ClampedArray(picture.length); // to the nearest level, 0 to 255
    for (let index = 0; index < picture.length; index++)
      rounded[index] = (picture[index] ?? 0) + (this.#light[index] ?? 0);
    return new Uint8Array(rounded.buffer);
  }

  #paintBackground(): void {
    const { background, texture } = this.#script;
    const [red = 0, green = 0, blue = 0] = WORLD.backgrounds[background] ?? [];
    const contrast = background === BRIGHT.background ? BRIGHT.contrast : CONTRAST;
    this.#each((x, y, at) => {
      const tone = hasSecondTone(texture, x, y) ? contrast : 0;
      this.#scene.set([red + tone, green + tone, blue + tone], at);
    });
  }

  #paintLight(): void {
    this.#each((x, y, at) => {
      const across = LIGHT * (1 - (2 * x) / this.#width);
      const down = LIGHT * (1 - (2 * y) / this.#height);
      this.#light.set([across, across, across * 0.3 + down], at);
    });
  }

  #paintWord(word: string): void {
    const { left, top, width, height, cover } = screenWordMask(word);
    const ink = this.#script.background === BRIGHT.background ? BRIGHT.ink : INK;
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        const at = ((top + row) * this.#width + this.#width / 2 + left + column) * 3;
        blend(this.#scene, at, [ink, ink, ink], (cover[row * width + column] ?? 0) / 255);
      }
    }
  }

  #paint(picture: Float32Array, { shape, x, y, radius, turn, color, opacity }: ObjectState): void {
    const distance = shapeDistance(shape, radius, turn);
    const clamp = (value: number, most: number): number => Math.floor(Math.min(Math.max(value, 0), most));
    const [right, bottom] = [clamp(x + radius + 3, this.#width), clamp(y + radius + 3, this.#height)];
    for (let row = clamp(y - radius - 2, this.#height); row < bottom; row++) {
      for (let column = clamp(x - radius - 2, this.#width); column < right; column++) {
        const cover = Math.min(1, Math.max(0, 0.5 - distance(column - x, row - y)));
        if (cover > 0) blend(picture, (row * this.#width + column) * 3, color, cover * opacity);
      }
    }
  }

  #each(paint: (x: number, y: number, at: number) => void): void {
    for (let y = 0; y < this.#height; y++) for (let x = 0; x < this.#width; x++) paint(x, y, (y * this.#width + x) * 3);
  }
}

/** Length of a move: pixels across the row of slots, or the share of the distance between two slots. */
const ACROSS_PIXELS = 46;
const ALONG_SHARE = 0.72;
const GROWTH = 0.7;
const SPIN_RADIANS = 2.6;

/** One object at one time. */
interface ObjectState {
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

/** All objects of a script at one time. @param time seconds from the start of the clip */
export function objectStates(script: Script, time: number): ObjectState[] {
  return script.objects.map((_, index) => stateOf(script, index, time));
}

function stateOf(script: Script, index: number, time: number): ObjectState {
  const object = known(script.objects[index]);
  const [width, height] = script.size;
  const tall = isTall(script.size);
  const [along, across] = [known(WORLD.slots[object.slot]) + object.shift[0], 0.54 + object.shift[1]];
  const state: Changing = {
    shape: object.shape,
    x: (tall ? across : along) * width,
    y: (tall ? along : across) * height,
    radius: known(WORLD.radii[object.size]),
    turn: 0,
    color: known(WORLD.colors[object.color]),
    opacity: object.hidden ? 0 : 1,
  };
  const step = ALONG_SHARE * (known(WORLD.slots[1]) - known(WORLD.slots[0])) * Math.max(width, height);
  const reach = tall ? { x: ACROSS_PIXELS, y: step } : { x: step, y: ACROSS_PIXELS };
  for (const event of script.events) {
    if (event.kind === 'visual' && event.object === index) change(state, event, progress(event, time), reach);
  }
  return state;
}

/** The elapsed share of the event, 0 to 1. */
function progress({ start, end }: VisualEvent, time: number): number {
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

/** True when a pixel has the second tone of its background. */
function hasSecondTone(texture: string, x: number, y: number): boolean {
  switch (texture) {
    case 'plain':
      return false;
    case 'striped':
      return Math.floor((x + y) / 20) % 2 === 1;
    case 'checkered':
      return (Math.floor(x / 24) + Math.floor(y / 24)) % 2 === 1;
    default:
      throw new Error(`${texture} is not a texture of WORLD. This is a bug.`);
  }
}

function blend(picture: Float32Array, at: number, color: readonly [number, number, number], share: number): void {
  for (const [channel, level] of color.entries()) {
    const before = picture[at + channel] ?? 0;
    picture[at + channel] = before + (level - before) * share;
  }
}

/** Distance of a star's inner corners from its centre, as a share of its radius. */
const STAR_WAIST = 0.42;

type Distance = (dx: number, dy: number) => number;

/**
 * Signed distance in pixels from the edge of a shape, negative inside.
 * @param turn radians; a circle has none
 * @returns the distance as a function of the offset from the shape's centre, in pixels
 */
function shapeDistance(shape: string, radius: number, turn: number): Distance {
  switch (shape) {
    case 'circle':
      return (dx, dy) => Math.hypot(dx, dy) - radius * 0.9;
    case 'square':
      return polygon(4, radius, turn);
    case 'triangle':
      return polygon(3, radius, turn + Math.PI / 2);
    case 'star':
      return star(radius, turn);
    default:
      throw new Error(`${shape} is not a shape of WORLD. This is a bug.`);
  }
}

/** Folds the plane into the sector around angle 0. Exact along the edges, which is where it is visible. */
function polygon(corners: number, radius: number, turn: number): Distance {
  const half = Math.PI / corners;
  const inner = radius * Math.cos(half);
  return (dx, dy) => Math.hypot(dx, dy) * Math.cos(modulo(Math.atan2(dy, dx) - turn + half, 2 * half) - half) - inner;
}

function star(radius: number, turn: number): Distance {
  const half = Math.PI / 5;
  const [cornerX, cornerY] = [radius * STAR_WAIST * Math.cos(half), radius * STAR_WAIST * Math.sin(half)];
  const edge = Math.hypot(cornerX - radius, cornerY);
  return (dx, dy) => {
    const reach = Math.hypot(dx, dy);
    const angle = Math.abs(modulo(Math.atan2(dy, dx) - turn + Math.PI / 2 + half, 2 * half) - half);
    return -((cornerX - radius) * reach * Math.sin(angle) - cornerY * (reach * Math.cos(angle) - radius)) / edge;
  };
}

/** Never negative, unlike `%`. */
function modulo(value: number, divisor: number): number {
  return ((value % divisor) + divisor) % divisor;
}

/** The share of each pixel that the letters of a word cover. */
interface WordMask {
  /** pixels from the middle of the picture (negative = left of it) and from its top */
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  /** [height, width], 0 to 255 */
  readonly cover: Uint8Array;
}

type Stored = Omit<WordMask, 'cover'> & { readonly deflated: string };

let masks: Readonly<Record<string, Stored>> | undefined;

/**
 * The word as the recipe draws it. The letters are stored as masks, because fonts render differently on each machine.
 */
function screenWordMask(word: string): WordMask {
  masks ??= JSON.parse(readFileSync(modelFile('world/screen-words.json'), 'utf8')) as Readonly<Record<string, Stored>>;
  const found = masks[word];
  if (found === undefined) throw new Error(`There is no mask of the word ${word}. This is a bug.`);
  const { deflated, ...place } = found;
  return { ...place, cover: inflateSync(Buffer.from(deflated, 'base64')) };
}
