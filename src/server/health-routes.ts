import type { FastifyInstance } from 'fastify';
import type { Captioner } from '../captioner.ts';
import type { ServerConfig } from './config.ts';
import { Liveness } from './liveness.ts';
import type { LiveRequests } from './live-requests.ts';
import type { Metrics } from './metrics.ts';

interface HealthParts {
  readonly captioner: Captioner;
  readonly config: ServerConfig;
  readonly metrics: Metrics;
  readonly live: LiveRequests;
}

/** /healthz: restart me? /readyz: send me work? /metrics: how am I? */
export function addHealthRoutes(app: FastifyInstance, { captioner, config, metrics, live }: HealthParts): void {
  const liveness = new Liveness(config.stallMs);
  const timer = setInterval(() => liveness.look(captioner.stats(), Date.now()), Math.max(100, config.stallMs / 10));
  timer.unref();
  app.addHook('onClose', () => {
    clearInterval(timer);
  });

  app.get('/healthz', async (_request, reply) => {
    const stats = captioner.stats();
    const stalled = liveness.isStalled(stats, Date.now());
    return reply.code(stalled ? 503 : 200).send({ status: stalled ? 'stalled' : 'ok', running: stats.running, waiting: stats.waiting, steps: stats.steps });
  });

  app.get('/readyz', async (_request, reply) => {
    const status = live.stopping ? 'stopping' : 'ready';
    return reply.code(live.stopping ? 503 : 200).send({ status, model: captioner.model.name, free_slots: captioner.stats().freeSlots });
  });

  app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.text()));
}
