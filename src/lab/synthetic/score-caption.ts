import { CATEGORIES, keypointsOf, type Category, type Keypoint } from './keypoints.ts';
import { readCaption, type Event, type Fact, type ReadCaption } from './read-caption.ts';
import { isSame } from './same-event.ts';
import { skillsOf, type Share, type Skill } from './skills.ts';

/** One spoken line; `speaker` is a key of WORLD.speakers. */
export interface Line {
  readonly speaker: string;
  readonly content: string;
}

export interface WorldScore {
  readonly categories: Readonly<Record<Category, Share>>;
  /** share of all keypoints that the caption tells, 0 to 1; 1 when the reference tells nothing */
  readonly recall: number;
  /** facts and events that the caption tells, and those among them that are no keypoint or are told once too often */
  readonly toldClaims: number;
  readonly falseClaims: number;
  /** single abilities, each forgiving what it does not test */
  readonly skills: Readonly<Record<Skill, Share>>;
  /** the spoken lines of both, in the order in which they are told */
  readonly dialogue: { readonly told: readonly Line[]; readonly truth: readonly Line[] };
}

/** The spoken lines of a caption in the order in which they are told. */
export function dialogueOf(text: string): Line[] {
  return linesOf(readCaption(text));
}

/** Compares what a caption tells with what its reference does. Exact: both are worded as captions of the world are. */
export function scoreCaption(caption: string, reference: string): WorldScore {
  const read = readCaption(caption);
  const truth = readCaption(reference);
  const told: readonly (Fact | Event)[] = [...read.facts, ...read.beats.flat()];
  const keypoints = keypointsOf(truth);
  const unclaimed = [...told];
  const hits = keypoints.map((keypoint) => ({ category: keypoint.category, hit: isTold(keypoint, read, unclaimed) }));
  const categories = Object.fromEntries(
    CATEGORIES.map((category) => [category, shareOf(hits.filter((found) => found.category === category))]),
  );
  const all = shareOf(hits);
  return {
    categories: categories as Record<Category, Share>,
    recall: all.total === 0 ? 1 : all.hits / all.total,
    toldClaims: told.length,
    falseClaims: unclaimed.length,
    skills: skillsOf(told, keypoints),
    dialogue: { told: linesOf(read), truth: linesOf(truth) },
  };
}

function linesOf({ beats }: ReadCaption): Line[] {
  return beats
    .flat()
    .flatMap((event) => (event.type === 'speech' ? [{ speaker: event.speaker, content: event.content }] : []));
}

function shareOf(found: readonly { readonly hit: boolean }[]): Share {
  return { hits: found.filter(({ hit }) => hit).length, total: found.length };
}

/** Takes what tells the keypoint out of `unclaimed`: one claim tells one keypoint. */
function isTold({ truth }: Keypoint, { beats }: ReadCaption, unclaimed: (Fact | Event)[]): boolean {
  switch (truth.type) {
    case 'order': {
      const before = beatsWith(beats, truth.before);
      const after = beatsWith(beats, truth.after);
      return Math.min(...before) < Math.max(...after); // of none: Infinity and -Infinity
    }
    case 'while': {
      const other = new Set(beatsWith(beats, truth.other));
      return beatsWith(beats, truth.one).some((beat) => other.has(beat));
    }
    default: {
      const match = unclaimed.findIndex((claim) => isSame(claim, truth));
      if (match !== -1) unclaimed.splice(match, 1);
      return match !== -1;
    }
  }
}

function beatsWith(beats: ReadCaption['beats'], event: Event): number[] {
  return beats.flatMap((beat, index) => (beat.some((told) => isSame(told, event)) ? [index] : []));
}
