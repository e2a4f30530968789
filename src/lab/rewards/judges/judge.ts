import type { ChecklistScore, DialogueLine, Reference, RewardOptions, SpeakerMode } from '../types.ts';

/** Descriptions of the speakers of one aligned pair of lines. */
export interface SpeakerPair {
  readonly generated: string;
  readonly reference: string;
}

/** What a judge of speakers may look at beside the pairs. */
export interface SpeakerSetting {
  readonly caption: string;
  readonly reference: string | undefined;
  readonly video: string | undefined;
}

export interface SpeakerVerdict {
  /** [pairs] */
  readonly same: readonly boolean[];
  readonly mode: SpeakerMode;
}

/** Which judge scored, for whoever compares scores. */
export interface JudgeRecord {
  readonly kind: 'world' | 'openai';
  readonly model: string | null;
  /** SHA-256 of the prompts in hex; null = none are used */
  readonly promptHash: string | null;
  /** request fields that its server would not take */
  readonly droppedFields: readonly string[];
}

/** Whoever reads captions. All methods throw Unscored where there is no verdict. */
export interface Judge {
  about(): JudgeRecord;
  /** How many of the reference's keypoints a caption tells. */
  checklist(
    caption: string,
    reference: Reference,
    mode: RewardOptions['checklistMode'],
    signal: AbortSignal,
  ): Promise<ChecklistScore>;
  /** Spoken lines of a caption or of its reference, in order. */
  dialogues(text: string, side: 'caption' | 'reference', signal: AbortSignal): Promise<readonly DialogueLine[]>;
  /** Whether both speakers of each pair are the same. Not asked without pairs. */
  sameSpeakers(pairs: readonly SpeakerPair[], setting: SpeakerSetting, signal: AbortSignal): Promise<SpeakerVerdict>;
  /** What a caption claims and how much of it is false; undefined = this judge cannot tell. */
  readonly claims?: (caption: string, reference: Reference) => { readonly told: number; readonly wrong: number };
}
