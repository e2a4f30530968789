// The words of avocado-nano's synthetic world. This folder and the recipe share one table,
// models/avocado-nano/world.json.
import { readFileSync } from 'node:fs';

/** Red, green and blue, 0 to 255. */
export type Rgb = readonly [number, number, number];
export type Table<T> = Readonly<Record<string, T>>;

interface Vocabulary {
  /** width and height in pixels, by aspect ratio */
  readonly sizes: Table<readonly [number, number]>;
  readonly frameRates: readonly number[];
  readonly sampleRate: number;
  readonly backgrounds: Table<Rgb>;
  readonly textures: readonly string[];
  readonly colors: Table<Rgb>;
  /** colours that are not used on a background */
  readonly hardToSee: Table<readonly string[]>;
  readonly shapes: readonly string[];
  /** in pixels, by size */
  readonly radii: Table<number>;
  /** positions of objects along the longer side, 0 to 1 */
  readonly slots: readonly number[];
  /** names of the slots in clips that place objects from left to right, or from top to bottom */
  readonly places: { readonly wide: readonly string[]; readonly tall: readonly string[] };
  readonly screenWords: readonly string[];
  /** wording in captions, by name */
  readonly verbs: Table<string>;
  readonly sounds: Table<string>;
  readonly speakers: Table<string>;
  readonly spokenWords: readonly string[];
  /** the sentence of beat k begins with the k-th opening */
  readonly openings: readonly string[];
  readonly silence: string;
  /** what only the hard level has, as wording by name */
  readonly hard: {
    readonly figures: Table<string>;
    /** what a figure does, by the figure's name */
    readonly figureVerbs: Table<string>;
    readonly sounds: Table<string>;
    /** whole sentences */
    readonly music: Table<string>;
    readonly transitions: Table<string>;
    readonly cameras: Table<string>;
    readonly passes: Table<string>;
  };
}

/** A file or directory of the bundled model; works from src/ and from dist/. */
export function modelFile(name: string): URL {
  return new URL(`../../../models/avocado-nano/${name}`, import.meta.url);
}

export const WORLD = JSON.parse(readFileSync(modelFile('world.json'), 'utf8')) as Vocabulary;
