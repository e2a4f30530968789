// Captions of the world with what the recipe's Python reads in them, made by
// models/avocado-nano/recipe/make_fixtures.py.
import { readFileSync } from 'node:fs';
import type { Category, Keypoint } from '../../../../src/lab/synthetic/score-caption.ts';
import type { SceneEvent, SceneFact } from '../../../../src/lab/synthetic/read-caption.ts';

/** A fact, event, order or while in the recipe's form: a tuple that begins with its kind. */
export type Tuple = readonly (string | null | Tuple)[];

export interface Tried {
  readonly caption: string;
  readonly read: readonly [facts: readonly Tuple[], beats: readonly (readonly Tuple[])[]];
  readonly score: {
    readonly categories: Readonly<Record<Category, readonly [number, number]>>;
    readonly recall: number;
    readonly claims: readonly [number, number];
    readonly skills: Readonly<Record<string, readonly [number, number]>>;
    /** R_D; null when neither side has speech */
    readonly dialogue: number | null;
  };
  readonly says_sound: boolean;
}

export interface ReferenceCaption {
  readonly reference: string;
  readonly keypoints: readonly (readonly [Category, Tuple])[];
  readonly dialogue: readonly (readonly [speaker: string, content: string])[];
  readonly tried: readonly Tried[];
}

export const CAPTIONS = JSON.parse(
  readFileSync(new URL('../../../fixtures/world/captions.json', import.meta.url), 'utf8'),
) as readonly ReferenceCaption[];

/** Our type in the recipe's form. */
export function tupleOf(truth: SceneFact | SceneEvent | Keypoint['truth']): Tuple {
  switch (truth.type) {
    case 'background':
      return ['background', truth.background, truth.texture];
    case 'object':
      return ['object', truth.size, truth.color, truth.shape, truth.place];
    case 'screen-word':
      return ['screen word', truth.word];
    case 'silence':
      return ['silence'];
    case 'act':
      return ['act', truth.color, truth.shape, truth.verb, truth.to ?? null];
    case 'sound':
      return ['sound', truth.sound];
    case 'speech':
      return ['speech', truth.speaker, truth.content];
    case 'order':
      return ['order', tupleOf(truth.before), tupleOf(truth.after)];
    case 'while':
      return ['while', tupleOf(truth.one), tupleOf(truth.other)];
    default:
      throw new Error(`The recipe's reader knows no ${truth.type}: it is of the hard level.`);
  }
}
