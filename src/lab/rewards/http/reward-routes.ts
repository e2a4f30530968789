import type { FastifyInstance, FastifyReply } from 'fastify';
import { rewardPlan, type RewardDefaults } from '../reward-plan.ts';
import { deadlineReason, scoreBatch } from '../score-batch.ts';
import type { Scorer } from '../score-item.ts';
import { REWARDS, type ItemScore, type RewardOptions } from '../types.ts';
import { Unscored } from '../unscored.ts';
import { answerOf, itemOf, judgeAnswer, type WireItem } from '../wire.ts';
import type { RewardMetrics } from './metrics.ts';
import { batchBody, singleBody } from './reward-body.ts';

export interface RewardParts {
  readonly scorer: Scorer;
  readonly defaults: RewardDefaults;
  readonly deadlineSeconds: number;
  readonly metrics: RewardMetrics;
}

/** Ends what is left of a batch at its deadline, or when its client has gone. */
function batchSignal(
  { raw }: FastifyReply,
  seconds: number,
): { readonly signal: AbortSignal; readonly done: () => void } {
  const ending = new AbortController();
  const timer = setTimeout(() => {
    ending.abort(deadlineReason(seconds));
  }, seconds * 1000);
  const left = (): void => {
    ending.abort(new Unscored('aborted', 'The client has gone.'));
  };
  raw.once('close', left);
  return {
    signal: ending.signal,
    done: () => {
      clearTimeout(timer);
      raw.off('close', left);
    },
  };
}

async function scored(
  items: readonly WireItem[],
  plan: RewardOptions,
  parts: RewardParts,
  reply: FastifyReply,
): Promise<ItemScore[]> {
  const { scorer, deadlineSeconds, metrics } = parts;
  const began = performance.now();
  const { signal, done } = batchSignal(reply, deadlineSeconds);
  const scores = await scoreBatch(items.map(itemOf), scorer, plan, signal).finally(done);
  metrics.scored(scores, (performance.now() - began) / 1000);
  return scores;
}

/** POST /v1/rewards: all rewards of a batch in its order. POST /v1/rewards/NAME: the values of one, for trainers that log each function. */
export function addRewardRoutes(app: FastifyInstance, parts: RewardParts): void {
  const about = (plan: RewardOptions): Record<string, unknown> => ({
    judge: judgeAnswer(parts.scorer.judge.about()),
    normalisation: plan.normalisation,
  });

  app.post('/v1/rewards', async (request, reply) => {
    const { items, ...asked } = batchBody(request.body);
    const plan = rewardPlan(asked, parts.defaults);
    const scores = await scored(items, plan, parts, reply);
    return { items: scores.map((score, index) => answerOf(items[index] ?? { completion: '' }, score)), ...about(plan) };
  });

  for (const reward of REWARDS) {
    app.post(`/v1/rewards/${reward}`, async (request, reply) => {
      const { items, options } = singleBody(request.body);
      const plan = rewardPlan({ rewards: [reward], options }, parts.defaults);
      const scores = await scored(items, plan, parts, reply);
      return {
        values: scores.map((score) => score[reward]?.value ?? null),
        errors: scores.map(({ errors }) => errors),
        ...about(plan),
      };
    });
  }
}
