import type { Judge } from './judges/judge.ts';
import type { PrecisionScore, RewardItem } from './types.ts';
import { Unscored } from './unscored.ts';

/**
 * R_P, 0 to 1: the share of a caption's claims that are true. Ours, not the paper's: R_C pays for coverage alone, so that guessing more
 * never costs anything. A caption that claims nothing earns 0, or saying nothing would pay.
 * @throws Unscored
 */
export function precisionReward({ completion, reference = {} }: RewardItem, judge: Judge): PrecisionScore {
  if (judge.claims === undefined)
    throw new Unscored(
      'no_claims',
      'Only the world judge can tell false claims: leave precision out, or start the service with --judge world.',
    );
  const { told, wrong } = judge.claims(completion, reference);
  return { value: told === 0 ? 0 : 1 - wrong / told, claims: told, falseClaims: wrong };
}
