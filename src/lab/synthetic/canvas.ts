// The picture that a frame of the synthetic world is painted on: background, shapes, the word on the screen, light.
import { readFileSync } from 'node:fs';
import { inflateSync } from 'node:zlib';
import type { Distance } from './shapes.ts';
import { modelFile, WORLD, type Rgb } from './vocabulary.ts';

/** Brightness gradient in levels, from the upper left, so that a patch of plain background shows its position. */
const LIGHT = 16;
/** Levels between the two tones of a pattern; on the one bright background the second tone is darker. */
const CONTRAST = 24;
const BRIGHT = { background: 'beige', contrast: -28, ink: 20 };
const INK = 240;

/** Where a camera stands: what is at the middle of its picture, and how large it shows the scene. */
export interface View {
  /** pixels of the scene right of and below its middle */
  readonly x: number;
  readonly y: number;
  /** 1 = a pixel of the scene is a pixel of the picture */
  readonly zoom: number;
}

export const STILL: View = { x: 0, y: 0, zoom: 1 };

/** Where a point of the scene is in the picture. */
export function seen(view: View, [width, height]: readonly [number, number], x: number, y: number): [number, number] {
  return [(x - width / 2 - view.x) * view.zoom + width / 2, (y - height / 2 - view.y) * view.zoom + height / 2];
}

export class Canvas {
  readonly #width: number;
  readonly #height: number;
  /** [height, width, 3], levels */
  readonly #picture: Float32Array;

  /** @param picture [height, width, 3]: what is on it already; it is painted over */
  constructor(size: readonly [number, number], picture?: Float32Array) {
    [this.#width, this.#height] = size;
    this.#picture = picture ?? new Float32Array(this.#width * this.#height * 3);
  }

  /** A canvas with the same picture. */
  copy(): Canvas {
    return new Canvas([this.#width, this.#height], this.#picture.slice());
  }

  paintBackground(background: string, texture: string, view = STILL): void {
    const [red = 0, green = 0, blue = 0] = WORLD.backgrounds[background] ?? [];
    const contrast = background === BRIGHT.background ? BRIGHT.contrast : CONTRAST;
    const [left, top] = [this.#width / 2 + view.x, this.#height / 2 + view.y];
    this.#each((x, y, at) => {
      const sceneX = view === STILL ? x : left + (x - this.#width / 2) / view.zoom;
      const sceneY = view === STILL ? y : top + (y - this.#height / 2) / view.zoom;
      const tone = hasSecondTone(texture, sceneX, sceneY) ? contrast : 0;
      this.#picture.set([red + tone, green + tone, blue + tone], at);
    });
  }

  /** @param share 0 = invisible, 1 = all of its ink */
  paintWord(word: string, background: string, share = 1): void {
    const { left, top, width, height, cover } = screenWordMask(word);
    const ink = background === BRIGHT.background ? BRIGHT.ink : INK;
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        const at = ((top + row) * this.#width + this.#width / 2 + left + column) * 3;
        blend(this.#picture, at, [ink, ink, ink], (share * (cover[row * width + column] ?? 0)) / 255);
      }
    }
  }

  /**
   * @param distance of the offset from `x`, `y` in pixels
   * @param reach pixels from `x`, `y` within which the shape lies
   */
  paintShape(distance: Distance, x: number, y: number, reach: number, color: Rgb, opacity: number): void {
    const clamp = (value: number, most: number): number => Math.floor(Math.min(Math.max(value, 0), most));
    const [right, bottom] = [clamp(x + reach + 3, this.#width), clamp(y + reach + 3, this.#height)];
    for (let row = clamp(y - reach - 2, this.#height); row < bottom; row++) {
      for (let column = clamp(x - reach - 2, this.#width); column < right; column++) {
        const cover = Math.min(1, Math.max(0, 0.5 - distance(column - x, row - y)));
        if (cover > 0) blend(this.#picture, (row * this.#width + column) * 3, color, cover * opacity);
      }
    }
  }

  /** The picture in its light. @returns rgb24, [height, width, 3] */
  toFrame(): Uint8Array {
    const rounded = new Uint8ClampedArray(this.#picture.length); // to the nearest level, 0 to 255
    this.#each((x, y, at) => {
      const across = LIGHT * (1 - (2 * x) / this.#width);
      const down = LIGHT * (1 - (2 * y) / this.#height);
      rounded[at] = (this.#picture[at] ?? 0) + across;
      rounded[at + 1] = (this.#picture[at + 1] ?? 0) + across;
      rounded[at + 2] = (this.#picture[at + 2] ?? 0) + across * 0.3 + down;
    });
    return new Uint8Array(rounded.buffer);
  }

  #each(paint: (x: number, y: number, at: number) => void): void {
    for (let y = 0; y < this.#height; y++) for (let x = 0; x < this.#width; x++) paint(x, y, (y * this.#width + x) * 3);
  }
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
