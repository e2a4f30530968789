import { readFileSync } from 'node:fs';
import { inflateSync } from 'node:zlib';
import { modelFile } from './vocabulary.ts';

/** How much of each pixel a word's letters cover. */
export interface WordMask {
  /** pixels right of the middle of the picture (below 0: left of it), and from its top */
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  /** [height, width], 0 to 255 */
  readonly cover: Uint8Array;
}

type Stored = Omit<WordMask, 'cover'> & { readonly deflated: string };

let masks: Readonly<Record<string, Stored>> | undefined;

/** The word as the recipe draws it; its letters are kept as pictures, for a font would never give the same ones. */
export function screenWordMask(word: string): WordMask {
  masks ??= JSON.parse(readFileSync(modelFile('world/screen-words.json'), 'utf8')) as Readonly<Record<string, Stored>>;
  const found = masks[word];
  if (found === undefined) throw new Error(`There is no picture of the word ${word}. This is a bug.`);
  const { deflated, ...place } = found;
  return { ...place, cover: inflateSync(Buffer.from(deflated, 'base64')) };
}
