import type { ChecklistScore, DialogueLine, Reference, RewardOptions, SpeakerMode } from '../types.ts';

/** Descriptions of the speakers of one aligned pair of lines. */
export interface SpeakerPair {
  readonly generated: string;
  readonly reference: string;
}

/** What a judge of speakers may read beside the pairs. */
export interface SpeakerContext {
  readonly caption: string;
  readonly reference: string | undefined;
  readonly video: string | undefined;
}

interface SpeakerVerdict {
  /** [pairs] */
  readonly same: readonly boolean[];
  readonly mode: SpeakerMode;
}

/** Which judge scored; scores of different judges or prompts are not comparable. */
export interface JudgeDescription {
  readonly kind: 'world' | 'openai';
  readonly model: string | null;
  /** SHA-256 of the prompts in hex; null = the judge uses no prompts */
  readonly promptHash: string | null;
  /** request fields that the judge's server rejected */
  readonly droppedFields: readonly string[];
}

/** Reads captions for the rewards. All methods throw Unscored where there is no verdict. */
export interface Judge {
  describe(): JudgeDescription;
  /** How many of the reference's keypoints a caption states. */
  checklist(
    caption: string,
    reference: Reference,
    mode: RewardOptions['checklistMode'],
    signal: AbortSignal,
  ): Promise<ChecklistScore>;
  /** Spoken lines of a caption or of its reference, in order. */
  dialogues(text: string, side: 'caption' | 'reference', signal: AbortSignal): Promise<readonly DialogueLine[]>;
  /** Whether both speakers of each pair are the same person. Not called without pairs. */
  sameSpeakers(pairs: readonly SpeakerPair[], context: SpeakerContext, signal: AbortSignal): Promise<SpeakerVerdict>;
  /**
   * How many claims a caption makes and how many of them are false; undefined = this judge cannot detect false claims.
   */
  readonly claims?: (caption: string, reference: Reference) => { readonly total: number; readonly wrong: number };
}
