import { setImmediate as nextTurn } from 'node:timers/promises';
import { scoreItem, type Scorer } from './score-item.ts';
import type { ItemScore, RewardItem, RewardOptions } from './types.ts';
import { Unscored } from './unscored.ts';

/** A judge without waiting would score a whole batch in one turn of the event loop, in which nobody else is answered. */
const TURN_MS = 10;
/** Captions under way; how many of a judge's calls that makes at a time is the judge's affair. */
const LANES = 128;

/** The reason of everything that a deadline of so many seconds cuts off. */
export function deadlineReason(seconds: number): Unscored {
  return new Unscored(
    'deadline',
    `The batch took longer than the ${seconds} s it may: send smaller batches, or start the service with a larger --deadline-seconds.`,
  );
}

/**
 * Scores of all captions in their order.
 * @param signal its reason, an Unscored, becomes the error of everything that has not ended by then
 */
export async function scoreBatch(
  items: readonly RewardItem[],
  scorer: Scorer,
  options: RewardOptions,
  signal: AbortSignal,
): Promise<ItemScore[]> {
  const scores: ItemScore[] = [];
  let turnBegan = performance.now();
  const left = items.entries();
  const lane = async (): Promise<void> => {
    for (const [index, item] of left) {
      scores[index] = await scoreItem(item, scorer, options, signal);
      if (performance.now() - turnBegan < TURN_MS) continue;
      await nextTurn();
      turnBegan = performance.now();
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return scores;
}
