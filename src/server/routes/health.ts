import type { FastifyInstance, RouteHandlerMethod } from 'fastify';
import type { Captioner } from '../../captioner/captioner.ts';
import type { CaptionService } from '../../admission/types.ts';
import type { ServerConfig } from '../../settings/server-settings.ts';
import { Liveness } from '../observe/liveness.ts';
import type { Metrics } from '../observe/metrics.ts';

interface HealthParts {
  readonly captioner: Captioner;
  readonly config: ServerConfig;
  readonly metrics: Metrics;
  readonly service: CaptionService;
}

/** The engine's own supervisor acts at `stallMs`; only when even that did not help is the server itself to be restarted. */
const BEYOND_SUPERVISOR = 3;
const OFTEN_MS = 1000;

interface Readiness {
  readonly status: 'ready' | 'loading' | 'restarting' | 'stopped' | 'stopping' | 'full';
  readonly text: string;
}

/** What a load balancer should know; the engine's own words where it is not ready. */
function readinessOf({ captioner, service }: HealthParts): Readiness {
  const { state, text } = captioner.status();
  const { stopping, full } = service.stats();
  if (stopping) return { status: 'stopping', text: 'The server is stopping.' };
  if (state !== 'ready') return { status: state, text };
  if (full) return { status: 'full', text: 'The queue is full.' };
  return { status: 'ready', text: '' };
}

/** Restart me? 200 also while the engine loads or comes back: somebody is on it already. */
function livenessHandler({ captioner, config }: HealthParts, app: FastifyInstance): RouteHandlerMethod {
  const liveness = new Liveness(config.stallMs * BEYOND_SUPERVISOR);
  const verdict = (): ReturnType<Liveness['verdict']> =>
    liveness.verdict({ ...captioner.stats(), state: captioner.status().state }, performance.now());
  const timer = setInterval(verdict, Math.min(OFTEN_MS, Math.max(10, config.stallMs / 10))).unref();
  app.addHook('onClose', () => {
    clearInterval(timer);
  });
  return async (_request, reply) => {
    const status = verdict();
    const { state, text, done, total, restarts } = captioner.status();
    const { running, waiting, steps } = captioner.stats();
    return reply
      .code(status === 'ok' ? 200 : 503)
      .send({ status, engine: state, text, done, total, restarts, running, waiting, steps });
  };
}

/** Send me work? */
function readinessHandler(parts: HealthParts): RouteHandlerMethod {
  return async (_request, reply) => {
    const readiness = readinessOf(parts);
    const { done, total } = parts.captioner.status();
    return reply.code(readiness.status === 'ready' ? 200 : 503).send({
      ...readiness,
      done,
      total,
      model: parts.captioner.model.name,
      free_slots: parts.captioner.stats().freeSlots,
    });
  };
}

/** SageMaker's probe, which stops containers that fail it: being full is no fault. */
function pingHandler(parts: HealthParts): RouteHandlerMethod {
  return async (_request, reply) => {
    const { status } = readinessOf(parts);
    return reply.code(status === 'ready' || status === 'full' ? 200 : 503).send({ status });
  };
}

/** /healthz, /readyz and /metrics, and the names under which other servers have them. */
export function addHealthRoutes(app: FastifyInstance, parts: HealthParts): void {
  const { metrics, config } = parts;
  const [live, ready] = [livenessHandler(parts, app), readinessHandler(parts)];
  for (const path of ['/healthz', '/v1/health/live']) app.get(path, live);
  for (const path of ['/readyz', '/health', '/v1/health/ready']) app.get(path, ready);
  app.get('/ping', pingHandler(parts));
  app.get('/version', () => ({ version: config.version }));
  for (const path of ['/metrics', '/v1/metrics'])
    app.get(path, async (_request, reply) => reply.type(metrics.contentType).send(await metrics.text()));
}
