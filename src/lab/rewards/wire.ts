// Items, options and answers as they travel: over HTTP, and as lines of a file. The schema is the type.
import Type from 'typebox';
import type { JudgeRecord } from './judges/judge.ts';
import { NORMALISATIONS } from './normalise.ts';
import { REWARDS, type DialogueScore, type ItemScore, type RewardItem, type RewardName } from './types.ts';

/** A caption of 4,096 tokens has some 20,000 characters; aligning grows with the product of both sides. */
const TEXT = Type.String({ maxLength: 65_536 });
const LABEL = Type.Optional(Type.String({ maxLength: 1000 }));
const LINE = Type.Object({ speaker: TEXT, content: TEXT }, { additionalProperties: false });

const REFERENCE = Type.Object(
  {
    caption: Type.Optional(TEXT),
    keypoints: Type.Optional(Type.Array(TEXT, { maxItems: 1000 })),
    dialogues: Type.Optional(Type.Array(LINE, { maxItems: 1000 })),
  },
  { additionalProperties: false },
);

export const ITEM = Type.Object(
  {
    /** `id`, `sample_id` and `finish_reason` come back as they are */
    id: LABEL,
    sample_id: LABEL,
    finish_reason: LABEL,
    completion: TEXT,
    completion_tokens: Type.Optional(Type.Integer({ minimum: 0 })),
    reference: Type.Optional(REFERENCE),
    video: Type.Optional(Type.String({ maxLength: 32 * 1024 ** 2 })),
  },
  { additionalProperties: false },
);
export type WireItem = Type.Static<typeof ITEM>;

export const OPTIONS = Type.Object(
  {
    normalisation: Type.Optional(Type.Enum([...NORMALISATIONS])),
    /** what two sides without speech earn */
    emptyBoth: Type.Optional(Type.Enum([0, 1, 'skip'])),
    /** pairs must be more than 0.6 alike, not at least */
    strictGamma: Type.Optional(Type.Boolean()),
    checklistMode: Type.Optional(Type.Enum(['list', 'count'])),
    /** R_L is 0 below it */
    minTokens: Type.Optional(Type.Integer({ minimum: 0 })),
    /** `sum`: a null is left out of the total instead of making it null */
    partial: Type.Optional(Type.Enum(['sum'])),
  },
  { additionalProperties: false },
);
export type WireOptions = Type.Static<typeof OPTIONS>;

export const REWARD_NAMES = Type.Array(Type.Enum([...REWARDS]), { minItems: 1, uniqueItems: true });
export const WEIGHTS = Type.Array(Type.Number(), { minItems: 1 });

export function itemOf({ completion, completion_tokens: tokens, reference, video }: WireItem): RewardItem {
  return { completion, tokens, reference, video };
}

function dialogueAnswer({
  value,
  generated,
  reference,
  content,
  speakers,
  pairs,
  speakerMode,
}: DialogueScore): Record<string, unknown> {
  const counted = pairs.map(([row, column]) => [row + 1, column + 1]);
  const mode = speakerMode === undefined ? {} : { speaker_mode: speakerMode };
  return { value, N: generated, M: reference, s_content: content, s_speaker: speakers, pairs: counted, ...mode };
}

function rewardAnswer(score: ItemScore, reward: RewardName): unknown {
  if (score[reward] === null) return { value: null };
  switch (reward) {
    case 'dialogue':
      return score.dialogue == null ? undefined : dialogueAnswer(score.dialogue);
    case 'precision':
      return score.precision == null
        ? undefined
        : { value: score.precision.value, claims: score.precision.claims, false_claims: score.precision.falseClaims };
    case 'checklist':
    case 'length':
      return score[reward];
    default:
      return reward satisfies never;
  }
}

/** One item's answer; pairs are counted from 1, as in the paper. */
export function answerOf({ id, sample_id, finish_reason }: WireItem, score: ItemScore): Record<string, unknown> {
  const rewards = REWARDS.flatMap((reward) =>
    score[reward] === undefined ? [] : [[reward, rewardAnswer(score, reward)]],
  );
  const labels = Object.fromEntries(
    Object.entries({ id, sample_id, finish_reason }).filter(([, label]) => label !== undefined),
  );
  return {
    ...labels,
    total: score.total,
    ...(Object.fromEntries(rewards) as Record<string, unknown>),
    errors: score.errors,
  };
}

/** Which judge scored, and with which prompts. */
export function judgeAnswer({ kind, model, promptHash, droppedFields }: JudgeRecord): Record<string, unknown> {
  return {
    kind,
    model,
    prompt_hash: promptHash,
    ...(droppedFields.length === 0 ? {} : { dropped_fields: droppedFields }),
  };
}
