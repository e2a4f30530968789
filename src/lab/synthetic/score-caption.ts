// Scores a caption of the synthetic world by exact match with its reference: keypoints, claims, single skills and
// spoken lines.
import { codePoints, pairableSimilarity } from '../similarity.ts';
import {
  readCaption,
  type ObjectChange,
  type ObjectFact,
  type ReadCaption,
  type SceneEvent,
  type SceneFact,
  type Speech,
} from './read-caption.ts';

/** The paper's five categories of keypoints. */
export const CATEGORIES = ['static', 'dynamic', 'auditory', 'spatio-temporal', 'cross-modal'] as const;
export type Category = (typeof CATEGORIES)[number];

interface Order {
  readonly type: 'order';
  readonly before: SceneEvent;
  readonly after: SceneEvent;
}
interface While {
  readonly type: 'while';
  readonly one: SceneEvent;
  readonly other: SceneEvent;
}

export interface Keypoint {
  readonly category: Category;
  readonly truth: SceneFact | SceneEvent | Order | While;
}

/** How many were found, of how many. */
export interface Share {
  readonly hits: number;
  readonly total: number;
}

/** `speaker` is a key of WORLD.speakers. */
export interface SpokenLine {
  readonly speaker: string;
  readonly content: string;
}

export interface CaptionScore {
  readonly categories: Readonly<Record<Category, Share>>;
  /** share of all keypoints that the caption states, 0 to 1; 1 when the reference has none */
  readonly recall: number;
  /** facts and events that the caption states */
  readonly toldClaims: number;
  /** those that match no keypoint, or repeat one too often */
  readonly falseClaims: number;
  readonly skills: Readonly<Record<Skill, Share>>;
  /** the spoken lines of both, in their order */
  readonly dialogue: { readonly caption: readonly SpokenLine[]; readonly reference: readonly SpokenLine[] };
}

/** Compares a caption with its reference. Exact, because both use the fixed wording of the synthetic world. */
export function scoreCaption(caption: string, reference: string): CaptionScore {
  const [read, expected] = [readCaption(caption), readCaption(reference)];
  const claims: readonly Claim[] = [...read.facts, ...read.beats.flat()];
  const keypoints = keypointsOf(expected);
  const unmatched = [...claims];
  const hits = keypoints.map((keypoint) => ({ category: keypoint.category, hit: isStated(keypoint, read, unmatched) }));
  const categories = Object.fromEntries(
    CATEGORIES.map((category) => [category, shareOf(hits.filter((found) => found.category === category))]),
  );
  const all = shareOf(hits);
  return {
    categories: categories as Record<Category, Share>,
    recall: all.total === 0 ? 1 : all.hits / all.total,
    toldClaims: claims.length,
    falseClaims: unmatched.length,
    skills: skillsOf(claims, keypoints),
    dialogue: { caption: linesOf(read), reference: linesOf(expected) },
  };
}

/** The spoken lines of a caption, in its order. */
export function dialogueOf(text: string): SpokenLine[] {
  return linesOf(readCaption(text));
}

function linesOf({ beats }: ReadCaption): SpokenLine[] {
  return beats
    .flat()
    .flatMap((event) => (event.type === 'speech' ? [{ speaker: event.speaker, content: event.content }] : []));
}

/** Everything that a caption should state, from its reference. */
export function keypointsOf(reference: ReadCaption): Keypoint[] {
  const { facts, beats } = reference;
  return [
    ...facts.filter((fact) => !isAboutSound(fact)).map((truth): Keypoint => ({ category: 'static', truth })),
    ...beats.flat().map((truth): Keypoint => ({ category: isAboutSound(truth) ? 'auditory' : 'dynamic', truth })),
    ...facts.filter(isAboutSound).map((truth): Keypoint => ({ category: 'auditory', truth })),
    ...beats.slice(1).flatMap((beat, index) => orderOf(beats[index]?.[0], beat[0])),
    ...beats.flatMap(whileOf),
  ];
}

function orderOf(before: SceneEvent | undefined, after: SceneEvent | undefined): Keypoint[] {
  return before === undefined || after === undefined
    ? []
    : [{ category: 'spatio-temporal', truth: { type: 'order', before, after } }];
}

/** Every two events of a beat. */
function whileOf(beat: readonly SceneEvent[]): Keypoint[] {
  return beat.flatMap((one, index) =>
    beat.slice(index + 1).map((other): Keypoint => ({ category: 'cross-modal', truth: { type: 'while', one, other } })),
  );
}

/** True for what a caption says about sound, silence included. */
export function isAboutSound({ type }: Claim): boolean {
  return ['sound', 'speech', 'music', 'silence'].includes(type);
}

/** One thing that a caption states. */
export type Claim = SceneFact | SceneEvent;

/** Removes the claim that states the keypoint from `unmatched`, so that one claim states one keypoint. */
function isStated({ truth }: Keypoint, { beats }: ReadCaption, unmatched: Claim[]): boolean {
  switch (truth.type) {
    case 'order': {
      const before = beatsWith(beats, truth.before);
      const after = beatsWith(beats, truth.after);
      return Math.min(...before) < Math.max(...after); // of an empty list: Infinity and -Infinity
    }
    case 'while': {
      const other = new Set(beatsWith(beats, truth.other));
      return beatsWith(beats, truth.one).some((beat) => other.has(beat));
    }
    default: {
      const match = unmatched.findIndex((claim) => isSame(claim, truth));
      if (match !== -1) unmatched.splice(match, 1);
      return match !== -1;
    }
  }
}

function beatsWith(beats: ReadCaption['beats'], event: SceneEvent): number[] {
  return beats.flatMap((beat, index) => (beat.some((claim) => isSame(claim, event)) ? [index] : []));
}

function shareOf(found: readonly { readonly hit: boolean }[]): Share {
  return { hits: found.filter(({ hit }) => hit).length, total: found.length };
}

/** Equal, except that the words of a spoken line need only be as similar as the dialogue reward requires (Eq. 4). */
export function isSame(claim: Claim, truth: Claim): boolean {
  if (claim.type === 'speech' && truth.type === 'speech')
    return (
      claim.speaker === truth.speaker &&
      claim.view === truth.view &&
      pairableSimilarity(codePoints(claim.content), codePoints(truth.content), false) > 0
    );
  return isEqual(claim, truth);
}

function isEqual(claim: Claim, truth: Claim): boolean {
  // Both are flat, and readCaption fixes the order of their fields.
  return JSON.stringify(claim) === JSON.stringify(truth);
}

const EASY_SKILLS = [
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

/** Of the hard level. */
export const HARD_SKILLS = ['figure', 'figure-act', 'transition', 'camera', 'pass', 'word-change', 'music'] as const;
/** of both levels */
export const SKILLS = [...EASY_SKILLS, ...HARD_SKILLS];
type Skill = (typeof SKILLS)[number];

type ClaimOf<T extends Claim['type']> = Extract<Claim, { readonly type: T }>;

function only<T extends Claim['type']>(claims: readonly Claim[], type: T): ClaimOf<T>[] {
  return claims.filter((claim): claim is ClaimOf<T> => claim.type === type);
}

/** The share of truths that at least one claim matches. */
function matched<T>(truths: readonly T[], claims: readonly T[], matches: (claim: T, truth: T) => boolean): Share {
  return { hits: truths.filter((truth) => claims.some((claim) => matches(claim, truth))).length, total: truths.length };
}

const sameObject = (claim: ObjectFact, truth: ObjectFact): boolean =>
  claim.color === truth.color && claim.shape === truth.shape;

/**
 * Single skills. Each ignores errors in what it does not test: the right colour counts with a wrong shape, the right
 * verb with a wrong object.
 */
function skillsOf(claims: readonly Claim[], keypoints: readonly Keypoint[]): Record<Skill, Share> {
  const truths = keypoints.flatMap(({ truth }) => (truth.type === 'order' || truth.type === 'while' ? [] : [truth]));
  const exact = (type: Claim['type']): Share => matched(only(truths, type), only(claims, type), isEqual);
  const objects = (matches: (claim: ObjectFact, truth: ObjectFact) => boolean): Share =>
    matched(only(truths, 'object'), only(claims, 'object'), matches);
  const changes = (matches: (claim: ObjectChange, truth: ObjectChange) => boolean): Share =>
    matched(only(truths, 'act'), only(claims, 'act'), matches);
  const lines = (matches: (claim: Speech, truth: Speech) => boolean): Share =>
    matched(only(truths, 'speech'), only(claims, 'speech'), matches);
  return {
    background: exact('background'),
    color: objects((claim, truth) => claim.color === truth.color),
    shape: objects(sameObject),
    size: objects((claim, truth) => sameObject(claim, truth) && claim.size === truth.size),
    place: objects((claim, truth) => sameObject(claim, truth) && claim.place === truth.place),
    'screen-word': exact('screen-word'),
    verb: changes((claim, truth) => claim.verb === truth.verb),
    'verb-with-object': changes(isEqual),
    sound: exact('sound'),
    speaker: lines((claim, truth) => claim.speaker === truth.speaker),
    line: lines((claim, truth) => claim.content === truth.content),
    silence: exact('silence'),
    figure: exact('figure'),
    'figure-act': exact('figure-act'),
    transition: exact('transition'),
    camera: exact('camera'),
    pass: exact('pass'),
    'word-change': exact('word-change'),
    music: exact('music'),
  };
}
