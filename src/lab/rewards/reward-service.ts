// The reward service over HTTP: a server of its own, because it runs beside a trainer, on machines without our model,
// ffmpeg or GPU.
import type { Writable } from 'node:stream';
import Fastify, { LogController, type FastifyError, type FastifyInstance, type FastifyReply } from 'fastify';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { checkValue } from '../../base/check-value.ts';
import { AvocadoError } from '../../base/errors.ts';
import { countersOf, histogramsOf } from '../../server/observe/prometheus.ts';
import { InFlightResponses } from '../../server/request-context.ts';
import { addNotFound, sendError } from '../../server/wire/error-reply.ts';
import { deadlineReason, scoreBatch, type Scorer } from './score.ts';
import { REWARDS, Unscored, UNSCORED, type ItemScore, type RewardOptions } from './types.ts';
import {
  BATCH_BODY,
  itemOf,
  judgeJson,
  rewardOptions,
  scoreJson,
  SINGLE_BODY,
  type RewardDefaults,
  type WireItem,
} from './wire.ts';

interface RewardServiceOptions {
  readonly scorer: Scorer;
  readonly defaults: RewardDefaults;
  readonly deadlineSeconds: number;
  /** how long running batches may go on when the service closes; default 0 */
  readonly drainMs?: number | undefined;
}

/** 512 captions of 4,096 tokens and their references are about 25 MB. */
const BODY_BYTES = 32 * 1024 ** 2;

/** The whole service; does not listen. @param log receives error lines as JSON; undefined = no log */
export function buildRewardApp(options: RewardServiceOptions, log?: Writable): FastifyInstance {
  const app = Fastify({
    logger: log === undefined ? false : { level: 'error', stream: log },
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_BYTES,
    requestTimeout: 0, // a judge may take longer than Node's default, five minutes; the batch has its own deadline
    forceCloseConnections: true,
    pluginTimeout: 0, // else Fastify would give up waiting for running batches
  });
  const responses = new InFlightResponses();
  responses.track(app);
  app.addHook('preClose', async () => {
    await responses.idle(options.drainMs ?? 0);
  });
  const metrics = createRewardMetrics();
  app.setErrorHandler((thrown, request, reply) => sendError(bodyError(thrown), request, reply));
  addNotFound(app, 'Captions are scored at POST /v1/rewards.');
  addRewardRoutes(app, options, metrics);
  app.get('/healthz', () => ({ status: 'ok', judge: options.scorer.judge.describe().kind }));
  app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.text()));
  return app;
}

/** Fastify's complaints about a body, in terms of batches instead of clips. */
function bodyError(thrown: unknown): unknown {
  const { code } = thrown as Partial<FastifyError>;
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE')
    return new AvocadoError('bad_request', 'Send application/json with the field items.', { cause: thrown });
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE')
    return new AvocadoError('media_too_large', 'The body has more than 32 MiB: send smaller batches.', {
      cause: thrown,
    });
  return thrown;
}

/**
 * POST /v1/rewards: all rewards of a batch, in its order. POST /v1/rewards/NAME: the values of one reward, for trainers
 * that log each reward function.
 */
function addRewardRoutes(app: FastifyInstance, service: RewardServiceOptions, metrics: RewardMetrics): void {
  const provenance = (options: RewardOptions): Record<string, unknown> => ({
    judge: judgeJson(service.scorer.judge.describe()),
    normalisation: options.normalisation,
  });

  const scoreItems = async (
    items: readonly WireItem[],
    options: RewardOptions,
    reply: FastifyReply,
  ): Promise<ItemScore[]> => {
    const began = performance.now();
    const { signal, done } = batchSignal(reply, service.deadlineSeconds);
    const scores = await scoreBatch(items.map(itemOf), service.scorer, options, signal).finally(done);
    metrics.scored(scores, (performance.now() - began) / 1000);
    return scores;
  };

  app.post('/v1/rewards', async (request, reply) => {
    const { items, ...requested } = checkValue(BATCH_BODY, request.body, '');
    const options = rewardOptions(requested, service.defaults);
    const scores = await scoreItems(items, options, reply);
    return {
      items: scores.map((score, index) => scoreJson(items[index] ?? { completion: '' }, score)),
      ...provenance(options),
    };
  });

  for (const reward of REWARDS) {
    app.post(`/v1/rewards/${reward}`, async (request, reply) => {
      const { items, options: requested } = checkValue(SINGLE_BODY, request.body, '');
      const options = rewardOptions({ rewards: [reward], options: requested }, service.defaults);
      const scores = await scoreItems(items, options, reply);
      return {
        values: scores.map((score) => score[reward]?.value ?? null),
        errors: scores.map(({ errors }) => errors),
        ...provenance(options),
      };
    });
  }
}

/** Aborts when the batch reaches its deadline or its client disconnects. */
function batchSignal(
  { raw }: FastifyReply,
  seconds: number,
): { readonly signal: AbortSignal; readonly done: () => void } {
  const controller = new AbortController();
  const timer = setTimeout(() => {
    controller.abort(deadlineReason(seconds));
  }, seconds * 1000);
  const onClose = (): void => {
    controller.abort(new Unscored('aborted', 'The client disconnected.'));
  };
  raw.once('close', onClose);
  return {
    signal: controller.signal,
    done: () => {
      clearTimeout(timer);
      raw.off('close', onClose);
    },
  };
}

const COUNTERS = {
  requests: { name: 'avocado_reward_requests_total', help: 'Batches that were scored.', labels: [] },
  items: { name: 'avocado_reward_items_total', help: 'Captions that were scored.', labels: [] },
  nulls: {
    name: 'avocado_reward_nulls_total',
    help: 'Rewards that could not be computed, by reward and error code.',
    labels: ['reward', 'reason'],
  },
} as const;

const HISTOGRAMS = {
  duration: {
    name: 'avocado_reward_request_duration_seconds',
    help: 'From the complete body to the scores of a batch.',
    labels: [],
    buckets: [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300],
  },
} as const;

interface RewardMetrics {
  readonly contentType: string;
  text(): Promise<string>;
  scored(scores: readonly ItemScore[], seconds: number): void;
}

/** Each service has its own registry, so that several can run in one process. */
function createRewardMetrics(): RewardMetrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const counters = countersOf(COUNTERS, registry);
  const { duration } = histogramsOf(HISTOGRAMS, registry);
  // rate() needs a first value, so every series starts at 0.
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
