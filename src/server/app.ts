import type { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import sse, { type SSEPluginOptions } from '@fastify/sse';
import Fastify, {
  LogController,
  type FastifyInstance,
  type FastifyPluginAsync,
  type FastifyServerOptions,
} from 'fastify';
import { Admission } from '../admission/admission.ts';
import { wantsTraces } from '../base/env.ts';
import type { Captioner } from '../captioner/captioner.ts';
import { watchGpus } from '../engine-process/gpu-numbers.ts';
import { createIntake } from '../intake/intake.ts';
import type { Jobs } from '../jobs/jobs.ts';
import { openTemporaryStorage } from '../storage/temporary-storage.ts';
import type { CaptionParts } from './caption-route.ts';
import type { ServerConfig } from '../settings/server-settings.ts';
import { addGuards } from './guards/access.ts';
import { watchClients } from './guards/clients.ts';
import { originHeaders, unreadOriginHeaders } from './guards/origins.ts';
import { addRequestLog, logEngineState, loggerOptions } from './observe/logging.ts';
import { createJobs, servedIdentity, storedFiles } from './job-work.ts';
import { createMetrics } from './observe/metrics.ts';
import { InFlightResponses } from './request-context.ts';
import { addRoutes, type Route } from './route.ts';
import { batchRoutes } from './routes/batches.ts';
import { captionRoutes } from './routes/captions.ts';
import { chatRoutes } from './routes/chat.ts';
import { healthRoutes } from './routes/health.ts';
import { fileRoutes } from './routes/files.ts';
import { jobRoutes } from './routes/jobs.ts';
import { modelRoutes } from './routes/models.ts';
import { addOpenApi } from './routes/open-api.ts';
import { pageRoutes } from './routes/page.ts';
import { addBodyParsers } from './wire/bodies.ts';
import { addNotFound, handleClientError, sendError } from './wire/error-reply.ts';

export interface AppParts {
  readonly captioner: Captioner;
  readonly config: ServerConfig;
  /** destination of log lines (JSON); undefined = no log */
  readonly log?: Writable | undefined;
}

/** Fastify would give up its hooks after ten seconds, so also the one that waits for captions when the server stops. */
const NO_HOOK_TIMEOUT = 0;
/** Node's limit of five minutes for a whole request would cut slow uploads. Deadlines of our own apply instead. */
const NO_REQUEST_TIMEOUT = 0;
/** Between two checks for connections without a request. */
const HEADS_EVERY_MS = 5000;
/** After the drain time, how long a stopping server waits for aborted captions to end. */
const LAST_EVENTS_MS = 5000;
/** After the drain time, how long a stopping server waits until finished responses have been sent. */
const LAST_BYTES_MS = 3000;
/** How long a stopping server waits for the database of jobs, which may hang; leases give back what is left. */
const LAST_ROWS_MS = 5000;

const WHERE_CAPTIONS_ARE_MADE = 'Captions are made at POST /v1/captions.';
const ONLY_JOBS = 'This server only runs jobs (--jobs-only): ask one that takes requests.';

/** The typings describe an ES module, but the package is CommonJS: Node's default import is the plugin itself. */
const eventStreamPlugin = sse as unknown as FastifyPluginAsync<SSEPluginOptions>;

function createServer(config: ServerConfig, responses: InFlightResponses, log: Writable | undefined): FastifyInstance {
  const http = {
    requireHostHeader: false, // Node's own error response has no body
    requestTimeout: NO_REQUEST_TIMEOUT,
    headersTimeout: config.idleMs, // also of a connection that sends nothing at all
    connectionsCheckingInterval: Math.min(HEADS_EVERY_MS, config.idleMs),
  };
  const options: FastifyServerOptions = {
    ...loggerOptions(config, log),
    logController: new LogController({ disableRequestLogging: true }), // addRequestLog writes one line per request
    genReqId: (request) => responses.newId(request),
    ...(config.trustProxy.length === 0 ? {} : { trustProxy: [...config.trustProxy] }),
    rewriteUrl: ({ url = '/' }) => withoutBase(url, config.basePath),
    forceCloseConnections: true,
    return503OnClosing: false, // the admission refuses requests itself, with an error in our shape
    requestTimeout: NO_REQUEST_TIMEOUT,
    pluginTimeout: NO_HOOK_TIMEOUT,
    clientErrorHandler: (error, socket) => {
      handleClientError(error, socket, unreadOriginHeaders(config));
    },
    frameworkErrors: (error, request, reply) => {
      void reply.headers({ 'x-request-id': request.id, ...originHeaders(request.headers.origin, config) });
      void sendError(error, request, reply);
    },
  };
  if (config.tls === undefined) return Fastify({ ...options, http });
  const https = { ...http, ...config.tls, handshakeTimeout: config.idleMs };
  // Fastify's types tell servers apart; a server for HTTPS has all that one for HTTP has.
  return Fastify({ ...options, https } as FastifyServerOptions);
}

/** A proxy may leave the base path in front of a path, or take it away; probes ask without it. */
function withoutBase(url: string, base: string): string {
  return base !== '' && url.startsWith(`${base}/`) ? url.slice(base.length) : url;
}

/** What a server has for clients and a worker has not. */
function clientRoutes(parts: CaptionParts, jobs: Jobs | undefined): Route[] {
  return [
    ...captionRoutes(parts),
    ...chatRoutes(parts),
    ...[jobRoutes, fileRoutes, batchRoutes].flatMap((routes) => routes({ ...parts, jobs })),
    ...pageRoutes(parts.captioner, parts.config),
  ];
}

/**
 * The whole HTTP server, wired by hand; it does not listen. Closing it refuses new captions, waits for running ones
 * at most `config.drainMs`, aborts the rest, and removes all media files. The caller keeps the captioner and closes
 * it.
 */
export async function buildApp({ captioner, config, log }: AppParts): Promise<FastifyInstance> {
  const storage = await openTemporaryStorage(config);
  const intake = createIntake(config, storage, { stored: storedFiles(() => jobs) });
  const { version, metricsCompat: compat } = config;
  const metrics = createMetrics({
    captioner,
    version,
    compat,
    service: () => service.stats(),
    space: () => storage.use(),
    jobs: () => jobs?.counts,
    gpus: watchGpus(captioner.model.device),
  });
  const service: Admission = new Admission(captioner, config, metrics);
  const responses = new InFlightResponses();
  const app = createServer(config, responses, log);
  const parts: CaptionParts = { captioner, config, metrics, intake, service };
  const askIdentity = servedIdentity(captioner, version, config.mergeModel);
  const jobs: Jobs | undefined = createJobs(parts, askIdentity, (error) => {
    app.log.error({ err: error }, 'jobs');
  });

  app.addHook('onListen', (done) => {
    metrics.listening();
    done();
  });
  app.addHook('preClose', async () => {
    // A client that does not read its response must not keep the server from stopping.
    const mostMs = config.drainMs + LAST_EVENTS_MS;
    const started = performance.now();
    jobs?.drain();
    await Promise.race([service.stop(config.drainMs), sleep(mostMs, undefined, { ref: false })]);
    await responses.idle(Math.max(0, config.drainMs - (performance.now() - started)) + LAST_BYTES_MS);
  });
  app.addHook('onClose', async () => {
    await Promise.race([jobs?.close(), sleep(LAST_ROWS_MS, undefined, { ref: false })]);
    metrics.close();
    await storage.close();
  });
  app.setErrorHandler(sendError);
  addNotFound(app, config.jobsOnly ? ONLY_JOBS : WHERE_CAPTIONS_ARE_MADE);
  logEngineState(app, captioner);

  // Hooks of every request, in this order: context and id, trace, pace, log line, headers, key, rate limit.
  responses.track(app);
  // Imported here: without traces it costs a start nothing.
  if (wantsTraces()) (await import('./observe/tracing.ts')).addTracing(app, version);
  watchClients(app, config);
  addRequestLog(app, config);
  await addGuards(app, config, (reason) => {
    metrics.rejected(reason);
  });
  if (!config.jobsOnly) await addOpenApi(app, config);
  await addBodyParsers(app, parts, config.maxUploadBytes);
  await app.register(eventStreamPlugin, { heartbeatInterval: config.heartbeatMs });

  addRoutes(app, [
    ...(config.jobsOnly ? [] : clientRoutes(parts, jobs)),
    ...modelRoutes({ captioner, askIdentity }),
    ...healthRoutes(app, { ...parts, storageReady: () => storage.isReady() }),
  ]);
  return app;
}
