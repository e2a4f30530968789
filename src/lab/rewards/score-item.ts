import { dialogueReward } from './dialogue-reward.ts';
import type { Judge } from './judges/judge.ts';
import { lengthReward } from './length-reward.ts';
import { precisionReward } from './precision-reward.ts';
import type { ItemError, ItemScore, LengthScore, RewardItem, RewardName, RewardOptions } from './types.ts';
import { Unscored } from './unscored.ts';
import { weightedSum } from './weighted-sum.ts';

/** What scores captions. */
export interface Scorer {
  readonly judge: Judge;
  /** tokens of a text, where a tokenizer is at hand; undefined = only the caller can count */
  readonly countTokens?: ((text: string) => number) | undefined;
}

type Score = NonNullable<ItemScore[RewardName]>;

function lengthOf({ completion, tokens }: RewardItem, { countTokens }: Scorer, { length }: RewardOptions): LengthScore {
  const counted = tokens ?? countTokens?.(completion);
  if (counted !== undefined) return { value: lengthReward(counted, length), tokens: counted };
  throw new Unscored(
    'no_token_count',
    'R_L is about tokens: send completion_tokens, or start the service with --tokenizer MODEL_DIR.',
  );
}

async function scoreOne(
  reward: RewardName,
  item: RewardItem,
  scorer: Scorer,
  options: RewardOptions,
  signal: AbortSignal,
): Promise<Score> {
  signal.throwIfAborted();
  switch (reward) {
    case 'checklist':
      return scorer.judge.checklist(item.completion, item.reference ?? {}, options.checklistMode, signal);
    case 'dialogue':
      return dialogueReward(item, scorer.judge, options, signal);
    case 'length':
      return lengthOf(item, scorer, options);
    case 'precision':
      return precisionReward(item, scorer.judge);
    default:
      return reward satisfies never;
  }
}

function errorOf(reward: RewardName, thrown: unknown): ItemError {
  if (thrown instanceof Unscored) return { reward, code: thrown.code, message: thrown.message };
  return {
    reward,
    code: 'internal',
    message: `${String(thrown)} This is a bug: please report it with the caption that caused it.`,
  };
}

/** All rewards of one caption. One that cannot be given is null and says why; never throws, since a batch must not fail for one item. */
export async function scoreItem(
  item: RewardItem,
  scorer: Scorer,
  options: RewardOptions,
  signal: AbortSignal,
): Promise<ItemScore> {
  const tried = await Promise.all(
    options.rewards.map((reward) => {
      const failed = (thrown: unknown): { score: null; error: ItemError } => ({
        score: null,
        error: errorOf(reward, thrown),
      });
      return scoreOne(reward, item, scorer, options, signal).then((score) => ({ score }), failed);
    }),
  );
  const parts = tried.map(({ score }, index) => ({
    value: score?.value ?? null,
    weight: options.weights[index] ?? 1,
    skipped: score !== null,
  }));
  const scores = Object.fromEntries(options.rewards.map((reward, index) => [reward, tried[index]?.score]));
  return {
    total: weightedSum(parts, options.partial),
    ...scores,
    errors: tried.flatMap((one) => ('error' in one ? [one.error] : [])),
  };
}
