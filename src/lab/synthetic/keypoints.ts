import type { Event, Fact, ReadCaption } from './read-caption.ts';

/** The paper's five. */
export const CATEGORIES = ['static', 'dynamic', 'auditory', 'spatio-temporal', 'cross-modal'] as const;
export type Category = (typeof CATEGORIES)[number];

export interface Order {
  readonly type: 'order';
  readonly before: Event;
  readonly after: Event;
}
export interface While {
  readonly type: 'while';
  readonly one: Event;
  readonly other: Event;
}

export interface Keypoint {
  readonly category: Category;
  readonly truth: Fact | Event | Order | While;
}

/** Everything that a caption should tell, from what its reference does. */
export function keypointsOf(reference: ReadCaption): Keypoint[] {
  const { facts, beats } = reference;
  return [
    ...facts.filter(({ type }) => type !== 'silence').map((truth): Keypoint => ({ category: 'static', truth })),
    ...beats.flat().map((truth): Keypoint => ({ category: truth.type === 'act' ? 'dynamic' : 'auditory', truth })),
    ...facts.filter(({ type }) => type === 'silence').map((truth): Keypoint => ({ category: 'auditory', truth })),
    ...beats.slice(1).flatMap((beat, index) => orderOf(beats[index]?.[0], beat[0])),
    ...beats.flatMap(whileOf),
  ];
}

function orderOf(before: Event | undefined, after: Event | undefined): Keypoint[] {
  return before === undefined || after === undefined
    ? []
    : [{ category: 'spatio-temporal', truth: { type: 'order', before, after } }];
}

function whileOf([one, other, ...more]: readonly Event[]): Keypoint[] {
  return one === undefined || other === undefined || more.length > 0
    ? []
    : [{ category: 'cross-modal', truth: { type: 'while', one, other } }];
}
