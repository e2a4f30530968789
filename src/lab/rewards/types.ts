import type { EmptyBoth } from './dialogue-f1.ts';
import type { LengthBounds } from './length-reward.ts';
import type { Normalisation } from './normalise.ts';
import type { UnscoredCode } from './unscored.ts';

/** The paper's three, and one of ours: `precision` (see precision-reward.ts). */
export const REWARDS = ['checklist', 'dialogue', 'length', 'precision'] as const;
export type RewardName = (typeof REWARDS)[number];
export const PAPER_REWARDS: readonly RewardName[] = ['checklist', 'dialogue', 'length'];

export interface DialogueLine {
  readonly speaker: string;
  readonly content: string;
}

export interface Reference {
  readonly caption?: string | undefined;
  /** K; made from the caption by the judge where they are not given */
  readonly keypoints?: readonly string[] | undefined;
  readonly dialogues?: readonly DialogueLine[] | undefined;
}

/** One rollout: a caption that the policy wrote, and what it is compared with. */
export interface RewardItem {
  readonly completion: string;
  /** the trainer's own count, without the end token */
  readonly tokens?: number | undefined;
  readonly reference?: Reference | undefined;
  /** https:, http: or data: URL for judges that see */
  readonly video?: string | undefined;
}

export interface RewardOptions {
  readonly rewards: readonly RewardName[];
  /** as many as rewards */
  readonly weights: readonly number[];
  readonly normalisation: Normalisation;
  readonly emptyBoth: EmptyBoth;
  readonly strictGamma: boolean;
  /** what is trusted of a judge's checklist answer: its list or its count */
  readonly checklistMode: 'list' | 'count';
  readonly length: LengthBounds;
  readonly partial: boolean;
}

/** How speakers were compared; scores of different modes are not comparable. */
export type SpeakerMode = 'exact' | 'text' | 'video';

export interface ChecklistScore {
  readonly value: number;
  readonly matched: number;
  readonly total: number;
}

export interface DialogueScore {
  /** null = skipped, since nobody speaks */
  readonly value: number | null;
  readonly generated: number;
  readonly reference: number;
  readonly content: number;
  readonly speakers: number;
  /** [generated, reference], counted from 0 */
  readonly pairs: readonly (readonly [number, number])[];
  /** undefined = no pair, so nobody was compared */
  readonly speakerMode?: SpeakerMode | undefined;
}

export interface LengthScore {
  readonly value: number;
  readonly tokens: number;
}

export interface PrecisionScore {
  readonly value: number;
  readonly claims: number;
  readonly falseClaims: number;
}

export interface ItemError {
  readonly reward: RewardName;
  readonly code: UnscoredCode;
  readonly message: string;
}

/** The rewards that were asked for; one that could not be given is null and among the errors. */
export interface ItemScore {
  readonly total: number | null;
  readonly checklist?: ChecklistScore | null | undefined;
  readonly dialogue?: DialogueScore | null | undefined;
  readonly length?: LengthScore | null | undefined;
  readonly precision?: PrecisionScore | null | undefined;
  readonly errors: readonly ItemError[];
}
