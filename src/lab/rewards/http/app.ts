// The reward service: a door of its own, because it runs beside a trainer, on machines without model, ffmpeg or GPU of ours.
import type { Writable } from 'node:stream';
import Fastify, { LogController, type FastifyError, type FastifyInstance } from 'fastify';
import { AvocadoError } from '../../../base/errors.ts';
import { sendError } from '../../../server/wire/error-reply.ts';
import { addNotFound } from '../../../server/guards/not-found.ts';
import { createRewardMetrics } from './metrics.ts';
import { addRewardRoutes, type RewardParts } from './reward-routes.ts';

/** 512 captions of 4,096 tokens and their references are some 25 MB. */
const BODY_BYTES = 32 * 1024 ** 2;

/** Fastify's complaints about a body, in words about batches instead of clips. */
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

/** The whole service, wired by hand; never listens. @param log where error lines (JSON) go; undefined = nowhere */
export function buildRewardApp(parts: Omit<RewardParts, 'metrics'>, log?: Writable): FastifyInstance {
  const app = Fastify({
    logger: log === undefined ? false : { level: 'error', stream: log },
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_BYTES,
    requestTimeout: 0, // a judge may take longer than Node's five minutes; the deadline ends it
    forceCloseConnections: true,
  });
  const metrics = createRewardMetrics();
  app.setErrorHandler((thrown, request, reply) => sendError(bodyError(thrown), request, reply));
  addNotFound(app, 'Captions are scored at POST /v1/rewards.');
  addRewardRoutes(app, { ...parts, metrics });
  app.get('/healthz', () => ({ status: 'ok', judge: parts.scorer.judge.about().kind }));
  app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.text()));
  return app;
}
