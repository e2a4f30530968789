import type { Writable } from 'node:stream';
import multipart from '@fastify/multipart';
import sse, { type SSEPluginOptions } from '@fastify/sse';
import Fastify, { LogController, type FastifyInstance, type FastifyPluginAsync } from 'fastify';
import type { Captioner } from '../captioner/captioner.ts';
import { createIntake } from '../intake/intake.ts';
import { openTemporaryStorage } from '../storage/temporary-storage.ts';
import { serveCaptions } from '../admission/serve-captions.ts';
import type { CaptionService } from '../admission/types.ts';
import { addAuth } from './guards/auth.ts';
import { answerBrokenHead } from './guards/client-error-handler.ts';
import { addCaptionsRoute } from './routes/captions.ts';
import { addChatRoute } from './routes/chat.ts';
import type { ServerConfig } from '../settings/server-settings.ts';
import { watchEngine } from './observe/log-engine-state.ts';
import { sendError } from './wire/error-reply.ts';
import { addEstimateRoute } from './routes/estimate.ts';
import { addHealthRoutes } from './routes/health.ts';
import { addJsonBodies } from './wire/json-bodies.ts';
import { LiveResponses } from './observe/in-flight-responses.ts';
import { addRequestLog, loggerOptions } from './observe/logging.ts';
import { createMetrics, type Metrics } from './observe/metrics.ts';
import { addModelsRoutes } from './routes/models.ts';
import { addNotFound } from './guards/not-found.ts';
import { addDocs } from './routes/open-api.ts';
import { addPage } from './routes/page.ts';
import { addRateLimit } from './guards/rate-limit.ts';
import { addSecurityHeaders } from './guards/security-headers.ts';

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
/** A stop waits so long for the last bytes of answers that are made. */
const LAST_BYTES_MS = 3000;

/** Its typings describe an ES module, but it is CommonJS: what Node imports as default is the plugin itself. */
const eventStreams = sse as unknown as FastifyPluginAsync<SSEPluginOptions>;

function createServer(config: ServerConfig, responses: LiveResponses, log: Writable | undefined): FastifyInstance {
  return Fastify({
    ...loggerOptions(config, log),
    logController: new LogController({ disableRequestLogging: true }), // one line of ours instead
    genReqId: (request) => responses.newId(request),
    requestTimeout: NO_REQUEST_TIMEOUT,
    forceCloseConnections: true,
    return503OnClosing: false, // the service says so itself, in our error shape
    http: { requireHostHeader: false }, // Node's own complaint has no body; nothing here asks for the host
    clientErrorHandler: answerBrokenHead,
    frameworkErrors: (error, request, reply) => {
      void reply.header('x-request-id', request.id);
      void sendError(error, request, reply);
    },
  });
}

/** What comes before every route, in this order: id and log, headers, keys, rates. */
async function addGuards(
  app: FastifyInstance,
  config: ServerConfig,
  metrics: Metrics,
  responses: LiveResponses,
): Promise<void> {
  responses.track(app);
  addRequestLog(app, config, metrics);
  await addSecurityHeaders(app);
  addAuth(app, config.apiKeys, () => {
    metrics.rejected('unauthorized');
  });
  await addRateLimit(app, config, () => {
    metrics.rejected('rate_limited');
  });
}

/**
 * The whole HTTP door, wired by hand; never listens. Closing it takes no new captions, lets running ones end for
 * `config.drainMs`, aborts the rest, and removes the media on disk. The captioner stays its owner's.
 */
export async function buildApp({ captioner, config, log }: AppParts): Promise<FastifyInstance> {
  const storage = await openTemporaryStorage(config);
  const intake = createIntake(config, storage);
  const { version, metricsCompat: compat } = config;
  const metrics = createMetrics({
    captioner,
    version,
    compat,
    service: () => service.stats(),
    space: () => storage.use(),
  });
  const service: CaptionService = serveCaptions({ captioner, limits: config, observer: metrics });
  const responses = new LiveResponses();
  const app = createServer(config, responses, log);

  app.addHook('onListen', (done) => {
    metrics.listening();
    done();
  });
  app.addHook('preClose', async () => {
    await service.stop(config.drainMs);
    await responses.idle(LAST_BYTES_MS);
  });
  app.addHook('onClose', async () => {
    metrics.close();
    await storage.close();
  });
  app.setErrorHandler(sendError);
  addNotFound(app, 'Captions are made at POST /v1/captions.');
  await addGuards(app, config, metrics, responses);
  await addDocs(app, version);
  addJsonBodies(app, intake);
  await app.register(multipart, {
    throwFileSizeLimit: false,
    limits: { ...FORM_LIMITS, fileSize: config.maxUploadBytes },
  });
  await app.register(eventStreams, { heartbeatInterval: config.heartbeatMs });

  const parts = { captioner, config, metrics, intake, service };
  addCaptionsRoute(app, parts);
  addEstimateRoute(app, parts);
  addChatRoute(app, parts);
  addModelsRoutes(app, parts);
  addHealthRoutes(app, parts);
  addPage(app, captioner);
  watchEngine(app, captioner);
  return app;
}
