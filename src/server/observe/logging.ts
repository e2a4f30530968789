// What the log tells (pino, JSON lines): one line a request at level info. It never holds a key; file names, URLs, prompts and
// captions only with `logContent`.
import type { Writable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifyServerOptions } from 'fastify';
import { asAvocadoError, type AvocadoError } from '../../base/errors.ts';
import { keyNameOf } from '../guards/auth.ts';
import type { ServerConfig } from '../../settings/server-settings.ts';
import type { Metrics } from './metrics.ts';
import type { RequestSummary } from './request-observation.ts';

type LogConfig = Pick<ServerConfig, 'logLevel' | 'logContent'>;

const SECRET_HEADERS = ['authorization', 'api-key', 'x-api-key', 'cookie'];
const REDACTED = ['headers', '*.headers'].flatMap((path) => SECRET_HEADERS.map((header) => `${path}["${header}"]`));
/** Looked at every few seconds by machines; of no interest when they go well. */
const PROBES = /^\/(healthz|readyz|health|ping|metrics|v1\/health\/.*|v1\/metrics)$/;

/** Messages of these may name a file or a URL. */
function mayNameContent({ code }: AvocadoError): boolean {
  return code === 'internal' || code.startsWith('media_');
}

/** Where it happened, without what it said. */
function framesOf(error: Error): string {
  return (error.stack ?? '')
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .map((line) => line.trim())
    .join('\n');
}

/** An error as the log shows it. */
function errorSerializer(
  logContent: boolean,
): (thrown: unknown) => { type: string; message: string; stack: string; [other: string]: unknown } {
  return (thrown) => {
    const error = asAvocadoError(thrown);
    const cause = error.cause instanceof Error ? error.cause : undefined;
    const message =
      logContent || !mayNameContent(error) ? error.message : 'Start the server with --log-content to see what it says.';
    const errno = cause !== undefined && 'code' in cause ? cause.code : undefined;
    return {
      type: (cause ?? error).name,
      code: error.code,
      message,
      errno,
      cause: logContent ? cause?.message : undefined,
      stack: framesOf(cause ?? error),
    };
  };
}

/** The route, not the URL, which may say more. */
function requestSerializer({
  method,
  routeOptions,
}: Pick<FastifyRequest, 'method'> & { readonly routeOptions?: { readonly url?: string | undefined } }): {
  method: string;
  url: string;
} {
  return { method, url: routeOptions?.url ?? '' };
}

/** Fastify's logger options. @param log where lines go; undefined = nowhere */
export function loggerOptions(
  { logLevel, logContent }: LogConfig,
  log: Writable | undefined,
): Pick<FastifyServerOptions, 'logger'> {
  if (log === undefined || logLevel === 'silent') return { logger: false };
  return {
    logger: {
      level: logLevel,
      stream: log,
      redact: REDACTED,
      serializers: { err: errorSerializer(logContent), req: requestSerializer },
    },
  };
}

/** Seconds to the tenth of a millisecond: more digits say nothing. */
function rounded(seconds: number): number {
  return Math.round(seconds * 1e4) / 1e4;
}

function contentOf({ job, end }: RequestSummary): Record<string, unknown> {
  return { file: job?.source.displayName, prompt: job?.request.prompt, caption: end?.caption };
}

function summaryOf(summary: RequestSummary | undefined, logContent: boolean): Record<string, unknown> {
  if (summary === undefined) return {};
  const { outcome, code, firstTokenSeconds, generatedTokens, job, end } = summary;
  return {
    outcome,
    code,
    finish_reason: end?.finishReason,
    class: job?.request.priority,
    source: job?.source.kind,
    media: end?.media.kind,
    first_token_seconds: firstTokenSeconds === undefined ? undefined : rounded(firstTokenSeconds),
    prompt_tokens: end?.usage.promptTokens,
    generated_tokens: generatedTokens,
    stages:
      end === undefined
        ? undefined
        : Object.fromEntries(Object.entries(end.timings.stages).map(([stage, seconds]) => [stage, rounded(seconds)])),
    ...(logContent ? contentOf(summary) : {}),
  };
}

function writeLine(
  request: FastifyRequest,
  reply: FastifyReply,
  summary: RequestSummary | undefined,
  logContent: boolean,
): void {
  const {
    method,
    routeOptions: { url: route },
  } = request;
  const probe = route !== undefined && PROBES.test(route) && reply.statusCode < 500;
  const status = reply.raw.headersSent ? reply.raw.statusCode : undefined;
  const line = {
    method,
    route,
    status,
    key: keyNameOf(request),
    seconds: rounded(reply.elapsedTime / 1000),
    ...summaryOf(summary, logContent),
  };
  request.log[probe ? 'debug' : 'info'](line, 'request');
}

/** One line a request, when its answer has gone or its reader has, and its caption has ended. */
export function addRequestLog(app: FastifyInstance, { logContent }: LogConfig, metrics: Metrics): void {
  app.addHook('onRequest', async (request, reply) => {
    reply.raw.once('close', () => {
      // Whoever else waits for this event ends what was begun; then it can be told.
      setImmediate(() => {
        const observation = metrics.observationOf(request);
        const write = (): void => {
          writeLine(request, reply, observation?.summary, logContent);
        };
        if (observation?.running === true) observation.whenEnded(write);
        else write();
      });
    });
  });
}
