import { randomUUID } from 'node:crypto';
import type { Writable } from 'node:stream';
import multipart from '@fastify/multipart';
import sse, { type SSEPluginOptions } from '@fastify/sse';
import Fastify, { type FastifyInstance, type FastifyPluginAsync } from 'fastify';
import type { Captioner } from '../captioner.ts';
import { AvocadoError } from '../errors.ts';
import { addCaptionsRoute } from './captions-route.ts';
import type { ServerConfig } from './config.ts';
import { sendError } from './error-reply.ts';
import { addHealthRoutes } from './health-routes.ts';
import { LiveRequests } from './live-requests.ts';
import { createMetrics } from './metrics.ts';
import { addPage } from './page.ts';
import { openUploads } from './uploads.ts';

export interface AppParts {
  readonly captioner: Captioner;
  readonly config: ServerConfig;
  /** where log lines (JSON) go; undefined = nowhere */
  readonly log?: Writable | undefined;
}

/** A form is one file and at most every option once; `stop` may repeat. */
const FORM_LIMITS = { files: 2, fields: 64, parts: 66, fieldNameSize: 100, fieldSize: 512 * 1024, headerPairs: 100 };
/** A request that waits for a tower or a long prefill must not be cut; node's own limit is five minutes for the whole body. */
const NO_REQUEST_TIMEOUT = 0;

/** Its typings describe an ES module, but it is CommonJS: what Node imports as default is the plugin itself. */
const eventStreams = sse as unknown as FastifyPluginAsync<SSEPluginOptions>;

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];

function createServer(log: Writable | undefined): FastifyInstance {
  return Fastify({
    logger: log === undefined ? false : { level: 'warn', stream: log },
    genReqId: () => `cap-${randomUUID()}`,
    requestTimeout: NO_REQUEST_TIMEOUT,
    forceCloseConnections: true,
    return503OnClosing: false, // LiveRequests says so itself, in our error shape
    frameworkErrors: (error, request, reply) => {
      void reply.header('x-request-id', request.id);
      void sendError(error, request, reply);
    },
  });
}

/** Answers for paths and methods nobody has. */
function addNotFound(app: FastifyInstance): void {
  app.setNotFoundHandler(async (request, reply) => {
    const path = request.url.split('?')[0] ?? '/';
    const allowed = METHODS.filter((method) => app.hasRoute({ method, url: path }));
    if (allowed.length === 0) throw new AvocadoError('not_found', `There is nothing at ${path}. Captions are made at POST /v1/captions.`);
    void reply.header('allow', allowed.join(', '));
    throw new AvocadoError('method_not_allowed', `${path} takes ${allowed.join(', ')}, not ${request.method}.`);
  });
}

/** Requests alive for each that can run: the others decode, or wait with their embeddings ready. */
const WAITING_PER_SLOT = 8;

/**
 * The whole HTTP door, wired by hand; never listens. Closing it takes no new captions, lets running ones end for
 * `config.drainMs`, aborts the rest, and removes the uploads. The captioner stays its owner's.
 */
export async function buildApp({ captioner, config, log }: AppParts): Promise<FastifyInstance> {
  const app = createServer(log);
  const live = new LiveRequests(config.maxRequests ?? captioner.model.slots * WAITING_PER_SLOT);
  const metrics = createMetrics({ captioner, live, version: config.version });
  const uploads = await openUploads(config.temporaryDirectory);

  app.addHook('onRequest', async (request, reply) => {
    void reply.header('x-request-id', request.id);
  });
  app.addHook('preClose', () => live.stop(config.drainMs));
  app.addHook('onClose', () => uploads.close());
  app.setErrorHandler(sendError);
  addNotFound(app);
  await app.register(multipart, { throwFileSizeLimit: false, limits: { ...FORM_LIMITS, fileSize: config.maxUploadBytes } });
  await app.register(eventStreams, { heartbeatInterval: config.heartbeatMs });

  addCaptionsRoute(app, { captioner, config, metrics, uploads, live });
  addHealthRoutes(app, { captioner, config, metrics, live });
  addPage(app);
  return app;
}
