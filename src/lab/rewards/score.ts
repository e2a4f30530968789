// Scores of captions: a batch, one caption, one reward, and their weighted sum.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { dialogueReward } from './dialogue-reward.ts';
import type { Judge } from './judges/judge.ts';
import {
  Unscored,
  type ItemError,
  type ItemScore,
  type LengthBounds,
  type LengthScore,
  type PrecisionScore,
  type RewardItem,
  type RewardName,
  type RewardOptions,
} from './types.ts';

export interface Scorer {
  readonly judge: Judge;
  /** tokens of a text; undefined = there is no tokenizer, so each item must bring its own count */
  readonly countTokens?: ((text: string) => number) | undefined;
}

/** A judge that never waits would score a whole batch in one turn of the event loop and block all other requests. */
const MAX_TURN_MS = 10;
/** Captions in progress. The judge itself limits its concurrent calls. */
const CONCURRENT_ITEMS = 128;

/** The abort reason of a batch that exceeds its deadline of `seconds`. */
export function deadlineReason(seconds: number): Unscored {
  return new Unscored(
    'deadline',
    `The batch took longer than its deadline of ${seconds} s: ` +
      'send smaller batches, or start the service with a larger --deadline-seconds.',
  );
}

/**
 * Scores of all captions, in their order.
 * @param signal its reason, an Unscored, becomes the error of every reward that has not been computed by then
 */
export async function scoreBatch(
  items: readonly RewardItem[],
  scorer: Scorer,
  options: RewardOptions,
  signal: AbortSignal,
): Promise<ItemScore[]> {
  const scores: ItemScore[] = [];
  let turnBegan = performance.now();
  const remaining = items.entries();
  const worker = async (): Promise<void> => {
    for (const [index, item] of remaining) {
      scores[index] = await scoreItem(item, scorer, options, signal);
      if (performance.now() - turnBegan < MAX_TURN_MS) continue;
      await nextTurn();
      turnBegan = performance.now();
    }
  };
  await Promise.all(Array.from({ length: CONCURRENT_ITEMS }, worker));
  return scores;
}

/**
 * All rewards of one caption. A reward that cannot be computed is null with a reason. Never throws: one item must not
 * fail its batch.
 */
export async function scoreItem(
  item: RewardItem,
  scorer: Scorer,
  options: RewardOptions,
  signal: AbortSignal,
): Promise<ItemScore> {
  const results = await Promise.all(
    options.rewards.map((reward) => {
      const failed = (thrown: unknown): { score: null; error: ItemError } => ({
        score: null,
        error: errorOf(reward, thrown),
      });
      return scoreOne(reward, item, scorer, options, signal).then((score) => ({ score }), failed);
    }),
  );
  const weighted = results.map(({ score }, index) => ({
    value: score?.value ?? null,
    weight: options.weights[index] ?? 1,
    skipped: score !== null,
  }));
  const scores = Object.fromEntries(options.rewards.map((reward, index) => [reward, results[index]?.score]));
  return {
    total: weightedSum(weighted, options.partial),
    ...scores,
    errors: results.flatMap((one) => ('error' in one ? [one.error] : [])),
  };
}

async function scoreOne(
  reward: RewardName,
  item: RewardItem,
  scorer: Scorer,
  options: RewardOptions,
  signal: AbortSignal,
): Promise<NonNullable<ItemScore[RewardName]>> {
  signal.throwIfAborted();
  switch (reward) {
    case 'checklist':
      return scorer.judge.checklist(item.completion, item.reference ?? {}, options.checklistMode, signal);
    case 'dialogue':
      return dialogueReward(item, scorer.judge, options, signal);
    case 'length':
      return lengthScore(item, scorer, options);
    case 'precision':
      return precisionScore(item, scorer.judge);
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

function lengthScore({ completion, tokens }: RewardItem, { countTokens }: Scorer, options: RewardOptions): LengthScore {
  const counted = tokens ?? countTokens?.(completion);
  if (counted !== undefined) return { value: lengthReward(counted, options.length), tokens: counted };
  throw new Unscored(
    'no_token_count',
    'R_L counts tokens: send completion_tokens, or start the service with --tokenizer MODEL_DIR.',
  );
}

/** R_L (Eq. 8), 0 to 1: 1 up to `from`, then falling linearly to 0 at `to`. */
export function lengthReward(tokens: number, { from, to, least }: LengthBounds): number {
  if (tokens < least) return 0;
  return Math.min(1, Math.max(0, 1 - (tokens - from) / (to - from)));
}

/**
 * R_P, 0 to 1: the share of a caption's claims that are true. Ours, not the paper's: R_C pays for coverage only, so
 * with R_C alone more guesses never cost anything. A caption without claims earns 0; otherwise an empty caption would
 * pay.
 * @throws Unscored
 */
function precisionScore({ completion, reference = {} }: RewardItem, judge: Judge): PrecisionScore {
  if (judge.claims === undefined)
    throw new Unscored(
      'no_claims',
      'Only the world judge can detect false claims: leave precision out, or start the service with --judge world.',
    );
  const { total, wrong } = judge.claims(completion, reference);
  return { value: total === 0 ? 0 : 1 - wrong / total, claims: total, falseClaims: wrong };
}

/** One reward of one caption as a term of the sum. */
export interface WeightedReward {
  /** null = could not be computed */
  readonly value: number | null;
  readonly weight: number;
  /** null on purpose: left out of the sum, and does not make it null */
  readonly skipped: boolean;
}

/**
 * R (Eq. 9): the weighted sum of the rewards; all weights are 1 in the paper. Null where none of them has a value.
 * @param partial sum the rewards that have a value. Otherwise one null makes the total null, so that totals of a group
 *   are never compared over different sets of rewards
 */
export function weightedSum(rewards: readonly WeightedReward[], partial: boolean): number | null {
  if (!partial && rewards.some(({ value, skipped }) => value === null && !skipped)) return null;
  const terms = rewards.flatMap(({ value, weight }) => (value === null ? [] : [weight * value]));
  return terms.length === 0 ? null : terms.reduce((sum, term) => sum + term, 0);
}
