// Scores of many captions of the synthetic world, as one row of percentages, the same as of the recipe's evaluate.py.
import { dialogueReward } from '../../src/lab/rewards/dialogue-reward.ts';
import { worldJudge } from '../../src/lab/rewards/judges/open-judge.ts';
import { repetitionOf } from '../../src/output/repetition.ts';
import { CATEGORIES } from '../../src/lab/synthetic/score-caption.ts';
import { mentionsSound } from '../../src/lab/synthetic/read-caption.ts';
import { dialogueOf, scoreCaption } from '../../src/lab/synthetic/score-caption.ts';
import { SKILLS, type Share } from '../../src/lab/synthetic/score-caption.ts';

export interface Captioned {
  readonly caption: string;
  readonly reference: string;
  /** tokens of the caption */
  readonly tokens: number;
  /** the model was given sound */
  readonly sound: boolean;
}

/** Percentages and means by name; null = there was nothing to measure. */
export type WorldScores = Readonly<Record<string, number | null>>;

const percent = (hits: number, total: number): number | null => (total === 0 ? null : (100 * hits) / total);

function mean(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}

function pooled(shares: readonly Share[]): number | null {
  const sum = (value: (share: Share) => number): number => shares.reduce((total, share) => total + value(share), 0);
  return percent(
    sum(({ hits }) => hits),
    sum(({ total }) => total),
  );
}

/** The caption ends in a loop or contains a long one: RepCol without near-copies, as in the recipe. */
function collapsed({ caption }: Captioned): boolean {
  const found = repetitionOf(caption);
  return found?.tail !== undefined || found?.inner !== undefined;
}

/** R_D of a caption, as the reward service computes it with the world judge; null when neither side has speech. */
async function lineReward({ caption, reference }: Captioned): Promise<number | null> {
  const options = { normalisation: 'raw', emptyBoth: 'skip', strictGamma: false } as const;
  const truth = { dialogues: dialogueOf(reference) };
  return (
    await dialogueReward({ completion: caption, reference: truth }, worldJudge(), options, new AbortController().signal)
  ).value;
}

export async function worldScores(captioned: readonly Captioned[]): Promise<WorldScores> {
  const scores = captioned.map(({ caption, reference }) => scoreCaption(caption, reference));
  const rewards = (await Promise.all(captioned.map(lineReward))).flatMap((value) =>
    value === null ? [] : [100 * value],
  );
  const silent = captioned.filter(({ sound }) => !sound);
  const named = <T extends string>(names: readonly T[], shares: (name: T) => Share[]): WorldScores =>
    Object.fromEntries(names.map((name) => [name.replaceAll('-', '_'), pooled(shares(name))]));
  return {
    captions: captioned.length,
    recall: mean(scores.map(({ recall }) => 100 * recall)),
    ...named(CATEGORIES, (name) => scores.map(({ categories }) => categories[name])),
    false_claims: pooled(scores.map(({ falseClaims, toldClaims }) => ({ hits: falseClaims, total: toldClaims }))),
    dialogue_reward: mean(rewards),
    ...named(SKILLS, (name) => scores.map(({ skills }) => skills[name])),
    collapsed: percent(captioned.filter(collapsed).length, captioned.length),
    tokens: mean(captioned.map(({ tokens }) => tokens)),
    says_sound_without_any: percent(silent.filter(({ caption }) => mentionsSound(caption)).length, silent.length),
  };
}

/** Descriptions of the numbers; the others have only their name. */
const MEANINGS: Readonly<Record<string, string>> = {
  recall: 'keypoints stated, mean over captions, %',
  static: 'background, objects, screen word, %',
  dynamic: 'changes with their object, %',
  auditory: 'sounds and lines, %',
  spatio_temporal: 'order of events, %',
  cross_modal: 'seen while heard, %',
  false_claims: 'of all claims, %',
  dialogue_reward: 'R_D, mean over captions with speech, %',
  collapsed: 'captions that end in or hold a loop, %',
  tokens: 'mean',
  says_sound_without_any: 'of the clips without sound, %',
};

const COUNTS: ReadonlySet<string> = new Set(['clips', 'without_caption', 'without_truth', 'captions']);

/** A text table, one number per line. */
export function scoreTable(scores: WorldScores): string {
  return Object.entries(scores)
    .map(([name, value]) => {
      const shown = value === null ? '-' : value.toFixed(COUNTS.has(name) ? 0 : 1);
      return `${name.replaceAll('_', ' ').padEnd(24)}${shown.padStart(7)}   ${MEANINGS[name] ?? ''}`.trimEnd();
    })
    .join('\n');
}
