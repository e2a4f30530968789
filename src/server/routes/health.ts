// Probes, version and metrics, and the names under which other servers have them.
import { Type } from '../../base/schema.ts';
import type { FastifyInstance } from 'fastify';
import type { Admission } from '../../admission/admission.ts';
import { ProgressWatch } from '../../base/progress-watch.ts';
import type { Captioner, CaptionerState, CaptionerStats } from '../../captioner/captioner.ts';
import type { ServerConfig } from '../../settings/server-settings.ts';
import type { Metrics } from '../observe/metrics.ts';
import { defineRoute, type Route } from '../route.ts';
import { withoutPaths } from '../wire/error-reply.ts';
import { jsonResponse, namedResponse, READINESS } from '../wire/schemas.ts';

type EngineProgress = Pick<CaptionerStats, 'busy' | 'progress'> & { readonly state: CaptionerState };

interface HealthParts {
  readonly captioner: Captioner;
  readonly config: ServerConfig;
  readonly metrics: Metrics;
  readonly service: Admission;
  /** whether files of requests can be written */
  readonly storageReady: () => Promise<boolean>;
}

/** The engine's supervisor acts after `stallMs`. The server itself reports a stall only when that did not help. */
const BEYOND_SUPERVISOR = 3;
/** Decoders that free no place for so long, while files wait, are full: other servers should get the requests. */
const DECODERS_FULL_MS = 30_000;
const LIVENESS_CHECK_MS = 1000;
const PING = Type.Object({ status: READINESS.properties.status });

/**
 * Alive: the engine makes progress, has nothing to do, or is loading or restarting. Not alive: work without progress
 * for `stallMs`, or a stopped engine. look() must be called regularly.
 */
export class Liveness {
  readonly #stallMs: number;
  readonly #watch = new ProgressWatch();
  #lookedAtMs: number | undefined;

  constructor(stallMs: number) {
    this.#stallMs = stallMs;
  }

  look({ busy, progress, state }: EngineProgress, nowMs: number): void {
    this.#watch.advance(nowMs - (this.#lookedAtMs ?? nowMs));
    this.#lookedAtMs = nowMs;
    this.#watch.observe({ busy: busy && state === 'ready', progress });
  }

  verdict(now: EngineProgress, nowMs: number): 'ok' | 'stalled' | 'stopped' {
    if (now.state === 'stopped') return 'stopped';
    this.look(now, nowMs);
    return this.#watch.stalledMs > this.#stallMs ? 'stalled' : 'ok';
  }
}

/** @param app closing it stops the check of the engine's progress */
export function healthRoutes(app: FastifyInstance, parts: HealthParts): Route[] {
  return [live(app, parts), ready(parts), ping(parts), version(parts), metricsRoute(parts)];
}

/** Should the server be restarted? 200 also while the engine loads or restarts, because then it recovers by itself. */
function live(app: FastifyInstance, { captioner, config }: HealthParts): Route {
  const liveness = new Liveness(config.stallMs * BEYOND_SUPERVISOR);
  const verdict = (): ReturnType<Liveness['verdict']> =>
    liveness.verdict({ ...captioner.stats(), state: captioner.status().state }, performance.now());
  const timer = setInterval(verdict, Math.min(LIVENESS_CHECK_MS, Math.max(10, config.stallMs / 10))).unref();
  app.addHook('onClose', () => {
    clearInterval(timer);
  });
  return defineRoute({
    method: 'GET',
    url: ['/healthz', '/v1/health/live'],
    access: 'open',
    limit: 'none',
    polled: true,
    docs: {
      tag: 'health',
      summary: 'Liveness: does the engine make progress?',
      responses: {
        200: namedResponse('Liveness', 'Alive; also while the engine loads or restarts'),
        503: namedResponse('Liveness', 'Restart the server'),
      },
    },
    handler: ({ reply }) => {
      const status = verdict();
      const { state, text, done, total, restarts } = captioner.status();
      const { running, waiting, steps } = captioner.stats();
      void reply.code(status === 'ok' ? 200 : 503);
      return { status, engine: state, text: withoutPaths(text), done, total, restarts, running, waiting, steps };
    },
  });
}

interface Readiness {
  readonly status: 'ready' | 'loading' | 'restarting' | 'stopped' | 'stopping' | 'full' | 'no_storage';
  readonly text: string;
}

async function readinessOf({ captioner, service, storageReady }: HealthParts): Promise<Readiness> {
  const { state, text } = captioner.status();
  const { stopping, full } = service.stats();
  if (stopping) return { status: 'stopping', text: 'The server is stopping.' };
  if (state !== 'ready') return { status: state, text: withoutPaths(text) };
  if (!(await storageReady())) return { status: 'no_storage', text: 'Temporary files cannot be written.' };
  if (full) return { status: 'full', text: 'The queue is full.' };
  const { running, waiting, stalledMs } = captioner.stats().decoding;
  if (stalledMs > DECODERS_FULL_MS) {
    const since = `for ${Math.round(stalledMs / 1000)} s`;
    return { status: 'full', text: `${running} long files hold all decoders ${since}, and ${waiting} wait.` };
  }
  return { status: 'ready', text: '' };
}

/** Should a load balancer send requests here? */
function ready(parts: HealthParts): Route {
  const { captioner } = parts;
  return defineRoute({
    method: 'GET',
    url: ['/readyz', '/health', '/v1/health/ready'],
    access: 'open',
    limit: 'none',
    polled: true,
    docs: {
      tag: 'health',
      summary: 'Readiness: does the server take requests?',
      responses: {
        200: namedResponse('Readiness', 'Ready'),
        503: namedResponse('Readiness', 'Not ready: see status and text'),
      },
    },
    handler: async ({ reply }) => {
      const readiness = await readinessOf(parts);
      const { done, total } = captioner.status();
      void reply.code(readiness.status === 'ready' ? 200 : 503);
      return { ...readiness, done, total, model: captioner.model.name, free_slots: captioner.stats().freeSlots };
    },
  });
}

/** SageMaker's probe. It stops a container that fails it, so a full queue counts as healthy. */
function ping(parts: HealthParts): Route {
  return defineRoute({
    method: 'GET',
    url: '/ping',
    access: 'open',
    limit: 'none',
    polled: true,
    docs: {
      tag: 'health',
      summary: 'Readiness, where a full queue counts as ready',
      responses: { 200: jsonResponse(PING, 'Ready or full'), 503: jsonResponse(PING, 'Not ready') },
    },
    handler: async ({ reply }) => {
      const { status } = await readinessOf(parts);
      void reply.code(status === 'ready' || status === 'full' ? 200 : 503);
      return { status };
    },
  });
}

function version({ config }: HealthParts): Route {
  return defineRoute({
    method: 'GET',
    url: '/version',
    access: 'key',
    limit: 'none',
    docs: {
      tag: 'health',
      summary: 'Version of this software',
      responses: { 200: jsonResponse(Type.Object({ version: Type.String() }), 'The version') },
    },
    handler: () => ({ version: config.version }),
  });
}

function metricsRoute({ metrics }: HealthParts): Route {
  return defineRoute({
    method: 'GET',
    url: ['/metrics', '/v1/metrics'],
    access: 'key',
    limit: 'none',
    polled: true,
    docs: {
      tag: 'health',
      summary: 'Metrics in Prometheus’ text format',
      responses: { 200: { description: 'Metrics', content: { 'text/plain': { schema: { type: 'string' } } } } },
    },
    handler: async ({ reply }) => reply.type(metrics.contentType).send(await metrics.text()),
  });
}
