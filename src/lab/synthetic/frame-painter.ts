import { objectStates, type ObjectState } from './object-state.ts';
import { screenWordMask } from './screen-words.ts';
import type { Script } from './script.ts';
import { shapeDistance } from './shape-distance.ts';
import { WORLD } from './vocabulary.ts';

/** Levels: a lamp at the upper left, so that a patch of plain background tells where it is. */
const LIGHT = 16;
/** Levels between the two tones of a pattern; on the one bright background the second tone is the darker one. */
const CONTRAST = 24;
const BRIGHT = { background: 'beige', contrast: -28, ink: 20 };
const INK = 240;

/** Draws one script. What does not move is drawn once. */
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
    if (script.text !== null) this.#write(script.text);
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
      const tone = second(texture, x, y) ? contrast : 0;
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

  #write(word: string): void {
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
    const outside = shapeDistance(shape, radius, turn);
    const clamp = (value: number, most: number): number => Math.floor(Math.min(Math.max(value, 0), most));
    const [right, bottom] = [clamp(x + radius + 3, this.#width), clamp(y + radius + 3, this.#height)];
    for (let row = clamp(y - radius - 2, this.#height); row < bottom; row++) {
      for (let column = clamp(x - radius - 2, this.#width); column < right; column++) {
        const cover = Math.min(1, Math.max(0, 0.5 - outside(column - x, row - y)));
        if (cover > 0) blend(picture, (row * this.#width + column) * 3, color, cover * opacity);
      }
    }
  }

  #each(paint: (x: number, y: number, at: number) => void): void {
    for (let y = 0; y < this.#height; y++) for (let x = 0; x < this.#width; x++) paint(x, y, (y * this.#width + x) * 3);
  }
}

/** Whether a pixel has the second tone of its background. */
function second(texture: string, x: number, y: number): boolean {
  switch (texture) {
    case 'plain':
      return false;
    case 'striped':
      return Math.floor((x + y) / 20) % 2 === 1;
    case 'checkered':
      return (Math.floor(x / 24) + Math.floor(y / 24)) % 2 === 1;
    default:
      throw new Error(`${texture} is not a texture of this world. This is a bug.`);
  }
}

function blend(picture: Float32Array, at: number, color: readonly [number, number, number], share: number): void {
  for (const [channel, level] of color.entries()) {
    const before = picture[at + channel] ?? 0;
    picture[at + channel] = before + (level - before) * share;
  }
}
