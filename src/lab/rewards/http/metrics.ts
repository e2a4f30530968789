import { collectDefaultMetrics, Registry } from 'prom-client';
import { REWARDS, type ItemScore } from '../types.ts';
import { UNSCORED } from '../unscored.ts';
import { countersOf, histogramsOf } from '../../../server/observe/from-table.ts';

const COUNTERS = {
  requests: { name: 'avocado_reward_requests_total', help: 'Batches that were scored.', labels: [] },
  items: { name: 'avocado_reward_items_total', help: 'Captions that were scored.', labels: [] },
  nulls: {
    name: 'avocado_reward_nulls_total',
    help: 'Rewards that could not be given, by reward and error code.',
    labels: ['reward', 'reason'],
  },
} as const;

const HISTOGRAMS = {
  duration: {
    name: 'avocado_reward_request_duration_seconds',
    help: 'From the whole body to the scores of a batch.',
    labels: [],
    buckets: [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300],
  },
} as const;

export interface RewardMetrics {
  readonly contentType: string;
  text(): Promise<string>;
  scored(scores: readonly ItemScore[], seconds: number): void;
}

/** A registry of its own, so that many services can live in one process. */
export function createRewardMetrics(): RewardMetrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const counters = countersOf(COUNTERS, registry);
  const { duration } = histogramsOf(HISTOGRAMS, registry);
  // A rate needs a first value: what has never happened is 0, not nothing.
  for (const reward of REWARDS) for (const reason of Object.keys(UNSCORED)) counters.nulls.inc({ reward, reason }, 0);
  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    scored: (scores, seconds) => {
      counters.requests.inc();
      counters.items.inc(scores.length);
      for (const { errors } of scores)
        for (const { reward, code } of errors) counters.nulls.inc({ reward, reason: code });
      duration.observe(seconds);
    },
  };
}
