import type { Keypoint } from './keypoints.ts';
import type { Act, Event, Fact, Speech, Thing } from './read-caption.ts';
import { isEqual } from './same-event.ts';

/** How many were told, of how many there are. */
export interface Share {
  readonly hits: number;
  readonly total: number;
}

export const SKILLS = [
  'background',
  'color',
  'shape',
  'size',
  'place',
  'screen-word',
  'verb',
  'verb-with-object',
  'sound',
  'speaker',
  'line',
  'silence',
] as const;
export type Skill = (typeof SKILLS)[number];

type Claim = Fact | Event;
type Of<T extends Claim['type']> = Extract<Claim, { readonly type: T }>;

function only<T extends Claim['type']>(claims: readonly Claim[], type: T): Of<T>[] {
  return claims.filter((claim): claim is Of<T> => claim.type === type);
}

/** Share of the truths that some claim meets. */
function met<T>(truths: readonly T[], claims: readonly T[], meets: (claim: T, truth: T) => boolean): Share {
  return { hits: truths.filter((truth) => claims.some((claim) => meets(claim, truth))).length, total: truths.length };
}

const sameThing = (claim: Thing, truth: Thing): boolean => claim.color === truth.color && claim.shape === truth.shape;

/** Single abilities, each forgiving what it does not test: the right colour counts with a wrong shape, a verb with another object. */
export function skillsOf(told: readonly Claim[], keypoints: readonly Keypoint[]): Record<Skill, Share> {
  const truths = keypoints.flatMap(({ truth }) => (truth.type === 'order' || truth.type === 'while' ? [] : [truth]));
  const whole = (type: Claim['type']): Share => met(only(truths, type), only(told, type), isEqual);
  const things = (meets: (claim: Thing, truth: Thing) => boolean): Share =>
    met(only(truths, 'object'), only(told, 'object'), meets);
  const acts = (meets: (claim: Act, truth: Act) => boolean): Share =>
    met(only(truths, 'act'), only(told, 'act'), meets);
  const lines = (meets: (claim: Speech, truth: Speech) => boolean): Share =>
    met(only(truths, 'speech'), only(told, 'speech'), meets);
  return {
    background: whole('background'),
    color: things((claim, truth) => claim.color === truth.color),
    shape: things(sameThing),
    size: things((claim, truth) => sameThing(claim, truth) && claim.size === truth.size),
    place: things((claim, truth) => sameThing(claim, truth) && claim.place === truth.place),
    'screen-word': whole('screen-word'),
    verb: acts((claim, truth) => claim.verb === truth.verb),
    'verb-with-object': acts(isEqual),
    sound: whole('sound'),
    speaker: lines((claim, truth) => claim.speaker === truth.speaker),
    line: lines((claim, truth) => claim.content === truth.content),
    silence: whole('silence'),
  };
}
