// Items, options and scores as JSON: over HTTP and as lines of a file. The TypeBox schema is also the type.
import { Type } from '../../base/schema.ts';
import { AvocadoError } from '../../base/errors.ts';
import type { JudgeDescription } from './judges/judge.ts';
import {
  NORMALISATIONS,
  PAPER_REWARDS,
  REWARDS,
  type DialogueScore,
  type ItemScore,
  type RewardItem,
  type RewardName,
  type RewardOptions,
} from './types.ts';

/** A caption of 4,096 tokens has about 20,000 characters; the cost of aligning grows with the product of both sides. */
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
    /** `id`, `sample_id` and `finish_reason` are copied to the answer */
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
    /** R_D when neither side has speech */
    emptyBoth: Type.Optional(Type.Enum([0, 1, 'skip'])),
    /** the similarity of a pair must exceed 0.6; otherwise 0.6 is enough */
    strictGamma: Type.Optional(Type.Boolean()),
    checklistMode: Type.Optional(Type.Enum(['list', 'count'])),
    /** R_L is 0 below it */
    minTokens: Type.Optional(Type.Integer({ minimum: 0 })),
    /** `sum`: a null is left out of the total instead of making it null */
    partial: Type.Optional(Type.Enum(['sum'])),
  },
  { additionalProperties: false },
);

const ITEMS = Type.Array(ITEM, { minItems: 1 });

/** Body of POST /v1/rewards. */
export const BATCH_BODY = Type.Object(
  {
    items: ITEMS,
    rewards: Type.Optional(Type.Array(Type.Enum([...REWARDS]), { minItems: 1, uniqueItems: true })),
    weights: Type.Optional(Type.Array(Type.Number(), { minItems: 1 })),
    options: Type.Optional(OPTIONS),
  },
  { additionalProperties: false },
);

/** Body of POST /v1/rewards/NAME. */
export const SINGLE_BODY = Type.Object(
  { items: ITEMS, options: Type.Optional(OPTIONS) },
  { additionalProperties: false },
);

/** Set when the service starts; a request cannot replace the length bounds, but may choose its normalisation. */
export type RewardDefaults = Pick<RewardOptions, 'length' | 'normalisation'>;

interface RequestedRewards {
  readonly rewards?: readonly RewardName[] | undefined;
  readonly weights?: readonly number[] | undefined;
  readonly options?: Type.Static<typeof OPTIONS> | undefined;
}

/**
 * Rewards, weights and options of one batch with defaults filled in; without any, the paper's R_C + R_D + R_L.
 * @throws AvocadoError `bad_request`
 */
export function rewardOptions(
  { rewards = PAPER_REWARDS, weights = rewards.map(() => 1), options = {} }: RequestedRewards,
  defaults: RewardDefaults,
): RewardOptions {
  if (weights.length !== rewards.length) {
    throw new AvocadoError(
      'bad_request',
      `There are ${weights.length} weights for ${rewards.length} rewards (${rewards.join(', ')}): give one for each, ` +
        'in their order.',
      { param: 'weights' },
    );
  }
  return {
    rewards,
    weights,
    normalisation: options.normalisation ?? defaults.normalisation,
    emptyBoth: options.emptyBoth ?? 1,
    strictGamma: options.strictGamma ?? false,
    checklistMode: options.checklistMode ?? 'list',
    length: options.minTokens === undefined ? defaults.length : { ...defaults.length, least: options.minTokens },
    partial: options.partial === 'sum',
  };
}

export function itemOf({ completion, completion_tokens: tokens, reference, video }: WireItem): RewardItem {
  return { completion, tokens, reference, video };
}

/** The answer for one item. Pairs are counted from 1, as in the paper. */
export function scoreJson({ id, sample_id, finish_reason }: WireItem, score: ItemScore): Record<string, unknown> {
  const rewards = REWARDS.flatMap((reward) =>
    score[reward] === undefined ? [] : [[reward, rewardJson(score, reward)]],
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

function rewardJson(score: ItemScore, reward: RewardName): unknown {
  if (score[reward] === null) return { value: null };
  switch (reward) {
    case 'dialogue':
      return score.dialogue == null ? undefined : dialogueJson(score.dialogue);
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

function dialogueJson(score: DialogueScore): Record<string, unknown> {
  const { value, generated, reference, content, speakers, pairs, speakerMode } = score;
  const pairsFromOne = pairs.map(([row, column]) => [row + 1, column + 1]);
  return {
    ...{ value, N: generated, M: reference, s_content: content, s_speaker: speakers, pairs: pairsFromOne },
    speaker_mode: speakerMode,
  };
}

/** Which judge scored, and with which prompts. */
export function judgeJson({ kind, model, promptHash, droppedFields }: JudgeDescription): Record<string, unknown> {
  return {
    kind,
    model,
    prompt_hash: promptHash,
    ...(droppedFields.length === 0 ? {} : { dropped_fields: droppedFields }),
  };
}
