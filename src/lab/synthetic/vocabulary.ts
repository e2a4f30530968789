// The words of avocado-nano's generated world. One table, models/avocado-nano/world.json, serves this folder and the recipe.
import { readFileSync } from 'node:fs';

/** Red, green and blue, 0 to 255. */
export type Rgb = readonly [number, number, number];
export type Table<T> = Readonly<Record<string, T>>;

export interface Vocabulary {
  /** width and height in pixels, by aspect ratio */
  readonly sizes: Table<readonly [number, number]>;
  readonly frameRates: readonly number[];
  readonly sampleRate: number;
  readonly backgrounds: Table<Rgb>;
  readonly textures: readonly string[];
  readonly colors: Table<Rgb>;
  /** colours left out on a background */
  readonly hardToSee: Table<readonly string[]>;
  readonly shapes: readonly string[];
  /** in pixels, by size */
  readonly radii: Table<number>;
  /** along the longer side, 0 to 1 */
  readonly slots: readonly number[];
  /** names of the slots in clips that line objects up from left to right, or from top to bottom */
  readonly places: { readonly wide: readonly string[]; readonly tall: readonly string[] };
  readonly screenWords: readonly string[];
  /** what a caption says, by what happens */
  readonly verbs: Table<string>;
  readonly sounds: Table<string>;
  readonly speakers: Table<string>;
  readonly spokenWords: readonly string[];
  /** beat k of a clip is told after the k-th */
  readonly openings: readonly string[];
  readonly silence: string;
}

/** A file or directory of the bundled model, from src/ as well as from dist/. */
export function modelFile(name: string): URL {
  return new URL(`../../../models/avocado-nano/${name}`, import.meta.url);
}

export const WORLD = JSON.parse(readFileSync(modelFile('world.json'), 'utf8')) as Vocabulary;
