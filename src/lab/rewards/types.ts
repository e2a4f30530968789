// What is scored, how, and the scores.

/** The paper's three rewards, and one of ours: `precision` (see score.ts). */
export const REWARDS = ['checklist', 'dialogue', 'length', 'precision'] as const;
export type RewardName = (typeof REWARDS)[number];
export const PAPER_REWARDS: readonly RewardName[] = ['checklist', 'dialogue', 'length'];

export interface DialogueLine {
  readonly speaker: string;
  readonly content: string;
}

export interface Reference {
  readonly caption?: string | undefined;
  /** K; where they are not given, the judge extracts them from the caption */
  readonly keypoints?: readonly string[] | undefined;
  readonly dialogues?: readonly DialogueLine[] | undefined;
}

/** One rollout: a caption written by the policy, and the reference it is compared with. */
export interface RewardItem {
  readonly completion: string;
  /** the trainer's own count, without the end token */
  readonly tokens?: number | undefined;
  readonly reference?: Reference | undefined;
  /** https:, http: or data: URL, for judges that read video */
  readonly video?: string | undefined;
}

/** What is done to spoken lines before they are compared; see `normalise` in dialogue-reward.ts. */
export const NORMALISATIONS = ['raw', 'basic'] as const;
export type Normalisation = (typeof NORMALISATIONS)[number];

/** R_D when neither side has speech; `skip` leaves R_D out of the sum. */
export type EmptyBoth = 0 | 1 | 'skip';

/** In tokens of the caption, end token not counted. */
export interface LengthBounds {
  /** R_L is 1 up to here (2,048 in the paper) */
  readonly from: number;
  /** R_L is 0 from here on (4,096 in the paper) */
  readonly to: number;
  /** R_L is 0 below this, since an empty caption would earn 1; the paper has no such bound, which is 0 */
  readonly least: number;
}

export const PAPER_LENGTHS: LengthBounds = { from: 2048, to: 4096, least: 0 };

export interface RewardOptions {
  readonly rewards: readonly RewardName[];
  /** one for each reward */
  readonly weights: readonly number[];
  readonly normalisation: Normalisation;
  readonly emptyBoth: EmptyBoth;
  readonly strictGamma: boolean;
  /** which part of a judge's checklist reply is trusted: its list or its count */
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
  /** null = skipped, because neither side has speech */
  readonly value: number | null;
  readonly generated: number;
  readonly reference: number;
  readonly content: number;
  readonly speakers: number;
  /** [generated, reference], counted from 0 */
  readonly pairs: readonly (readonly [number, number])[];
  /** undefined = there was no pair, so no speakers were compared */
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

/** The requested rewards; one that could not be computed is null and has an entry in `errors`. */
export interface ItemScore {
  readonly total: number | null;
  readonly checklist?: ChecklistScore | null | undefined;
  readonly dialogue?: DialogueScore | null | undefined;
  readonly length?: LengthScore | null | undefined;
  readonly precision?: PrecisionScore | null | undefined;
  readonly errors: readonly ItemError[];
}

/**
 * Why one reward of one caption is null: code → meaning. These are not errors of the request: its other rewards and its
 * other captions are still scored.
 */
export const UNSCORED = {
  no_reference: 'the item has no reference caption, or the judge finds nothing in it to compare with',
  no_token_count: 'the item has no completion_tokens and the service no tokenizer',
  no_claims: 'this judge cannot detect false claims; the world judge can',
  judge_timeout: 'the judge did not answer in time, in any attempt',
  judge_unreachable: 'the judge cannot be reached, or is overloaded, after all attempts',
  judge_refused: 'the judge rejects the request, for example because of a wrong key or model',
  parse_failed: 'the judge answered, but never in the requested form',
  deadline: 'the deadline of the batch passed first',
  aborted: 'the client disconnected, or the command was interrupted',
  internal: 'a bug in this program; please report it',
} as const satisfies Record<string, string>;

type UnscoredCode = keyof typeof UNSCORED;

/** A reward that cannot be computed is null, never 0: a failure of the judge must not lower the policy's reward. */
export class Unscored extends Error {
  readonly code: UnscoredCode;

  constructor(code: UnscoredCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'Unscored';
    this.code = code;
  }
}
