// Scores of many captions of the generated world, as one row of percentages (the recipe's evaluate.py gives the same).
import { repetitionOf } from '../../src/stream/repetition.ts';
import { CATEGORIES } from '../../src/world/keypoints.ts';
import { saysSound } from '../../src/world/read-caption.ts';
import { scoreCaption, type Line } from '../../src/world/score-caption.ts';
import { SKILLS, type Share } from '../../src/world/skills.ts';

export interface Captioned {
  readonly caption: string;
  readonly reference: string;
  /** tokens of the caption */
  readonly tokens: number;
  /** the model was given sound */
  readonly sound: boolean;
}

/** Percentages and means by name; null where there was nothing to measure. */
export type WorldScores = Readonly<Record<string, number | null>>;

const percent = (hits: number, total: number): number | null => (total === 0 ? null : (100 * hits) / total);

function mean(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}

function pooled(shares: readonly Share[]): number | null {
  const sum = (value: (share: Share) => number): number => shares.reduce((total, share) => total + value(share), 0);
  return percent(sum(({ hits }) => hits), sum(({ total }) => total));
}

/** It ends in a loop or holds a long one: RepCol without near-copies, as the recipe counts it. */
function collapsed({ caption }: Captioned): boolean {
  const found = repetitionOf(caption);
  return found?.tail !== undefined || found?.inner !== undefined;
}

/** 0 to 1 for the spoken lines of a caption against those of its reference: R_D. */
export type LineReward = (told: readonly Line[], truth: readonly Line[]) => number;

/** @param lineReward undefined leaves it out */
export function worldScores(captioned: readonly Captioned[], lineReward: LineReward | undefined): WorldScores {
  const scores = captioned.map(({ caption, reference }) => scoreCaption(caption, reference));
  const spoken = scores.flatMap(({ dialogue }) => (dialogue.told.length + dialogue.truth.length > 0 ? [dialogue] : []));
  const rewards = lineReward === undefined ? [] : spoken.map(({ told, truth }) => 100 * lineReward(told, truth));
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
    says_sound_without_any: percent(silent.filter(({ caption }) => saysSound(caption)).length, silent.length),
  };
}

/** What each number is, in the order of the table; what is not named here stands under its own name. */
const MEANINGS: Readonly<Record<string, string>> = {
  recall: 'keypoints told, mean over captions, %',
  static: 'background, objects, screen word, %',
  dynamic: 'changes with their object, %',
  auditory: 'sounds and lines, %',
  spatio_temporal: 'order of events, %',
  cross_modal: 'seen while heard, %',
  false_claims: 'of all claims, %',
  dialogue_reward: 'R_D, mean where somebody speaks, %',
  collapsed: 'captions that end in or hold a loop, %',
  tokens: 'mean',
  says_sound_without_any: 'of the clips without sound, %',
};

const COUNTS: ReadonlySet<string> = new Set(['clips', 'without_caption', 'without_truth', 'captions']);

/** A table for people, one number a line. */
export function scoreTable(scores: WorldScores): string {
  return Object.entries(scores).map(([name, value]) => {
    const shown = value === null ? '-' : value.toFixed(COUNTS.has(name) ? 0 : 1);
    return `${name.replaceAll('_', ' ').padEnd(24)}${shown.padStart(7)}   ${MEANINGS[name] ?? ''}`.trimEnd();
  }).join('\n');
}
