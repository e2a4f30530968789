import { AvocadoError } from '../../base/errors.ts';
import { PAPER_REWARDS, type RewardName, type RewardOptions } from './types.ts';
import type { WireOptions } from './wire.ts';

/** What the service was started with; a request may set the rest. */
export type RewardDefaults = Pick<RewardOptions, 'length' | 'normalisation'>;

interface Asked {
  readonly rewards?: readonly RewardName[] | undefined;
  readonly weights?: readonly number[] | undefined;
  readonly options?: WireOptions | undefined;
}

/** Rewards, weights and options of one batch; without any, the paper's R_C + R_D + R_L. @throws AvocadoError `bad_request` */
export function rewardPlan(
  { rewards = PAPER_REWARDS, weights = rewards.map(() => 1), options = {} }: Asked,
  defaults: RewardDefaults,
): RewardOptions {
  if (weights.length !== rewards.length) {
    throw new AvocadoError(
      'bad_request',
      `There are ${weights.length} weights for ${rewards.length} rewards (${rewards.join(', ')}): give one for each, in their order.`,
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
