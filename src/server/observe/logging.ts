// The log (pino, JSON lines): one line per request at level info. It never holds an API key; file names, URLs,
// prompts and captions only with `logContent`.
import type { Writable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifyServerOptions } from 'fastify';
import type { Captioner, CaptionerState } from '../../captioner/captioner.ts';
import { asAvocadoError, type AvocadoError } from '../../base/errors.ts';
import type { ServerConfig } from '../../settings/server-settings.ts';
import type { RequestSummary } from './request-metrics.ts';

type LogConfig = Pick<ServerConfig, 'logLevel' | 'logContent'>;

const SECRET_HEADERS = ['authorization', 'api-key', 'x-api-key', 'cookie'];
const REDACTED = ['headers', '*.headers'].flatMap((path) => SECRET_HEADERS.map((header) => `${path}["${header}"]`));
/** How often the state of the engine is compared with the last one that was logged. */
const ENGINE_STATE_MS = 250;

/** Messages of these errors may name a file or a URL. */
function mayNameContent({ code }: AvocadoError): boolean {
  return code === 'internal' || code.startsWith('media_');
}

/** The stack without its first lines, which repeat the message. */
function framesOf(error: Error): string {
  return (error.stack ?? '')
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .map((line) => line.trim())
    .join('\n');
}

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

/** Logs the route and not the URL, which may hold private values. */
function requestSerializer({
  method,
  routeOptions,
}: Pick<FastifyRequest, 'method'> & { readonly routeOptions?: { readonly url?: string | undefined } }): {
  method: string;
  url: string;
} {
  return { method, url: routeOptions?.url ?? '' };
}

/** Fastify's logger options. @param log destination of the lines; undefined = no log */
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

/** Seconds, to a tenth of a millisecond. */
function rounded(seconds: number): number {
  return Math.round(seconds * 1e4) / 1e4;
}

function contentOf({ task, end }: RequestSummary): Record<string, unknown> {
  return { file: task?.source.displayName, prompt: task?.request.prompt, caption: end?.caption };
}

function summaryOf(summary: RequestSummary | undefined, logContent: boolean): Record<string, unknown> {
  if (summary === undefined) return {};
  const { outcome, code, firstTokenSeconds, generatedTokens, task, end } = summary;
  return {
    outcome,
    code,
    finish_reason: end?.finishReason,
    class: task?.request.priority,
    source: task?.source.kind,
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
  status: number | undefined,
  logContent: boolean,
): void {
  const { method, context, routeOptions } = request;
  const isPoll = routeOptions.config.route?.polled === true && reply.statusCode < 500;
  const line = {
    method,
    route: routeOptions.url,
    status,
    key: context.keyName,
    trace_id: context.trace?.traceId,
    seconds: rounded(reply.elapsedTime / 1000),
    ...summaryOf(context.observation?.summary, logContent),
  };
  request.log[isPoll ? 'debug' : 'info'](line, 'request');
}

/** One line per request, when its response has closed and its caption has ended. Call after the context is added. */
export function addRequestLog(app: FastifyInstance, { logContent }: LogConfig): void {
  app.addHook('onRequest', (request, reply, done) => {
    const { context } = request;
    context.defer(() => {
      const status = reply.raw.headersSent ? reply.raw.statusCode : undefined;
      void Promise.resolve(context.work).then(() => {
        writeLine(request, reply, status, logContent);
      });
    });
    done();
  });
}

/** Logs every change of the engine's state. */
export function logEngineState(app: FastifyInstance, captioner: Captioner): void {
  let previous: CaptionerState = captioner.status().state;
  const timer = setInterval(() => {
    const { state, text, restarts, pid } = captioner.status();
    if (state === previous) return;
    previous = state;
    app.log[state === 'ready' ? 'info' : 'warn']({ state, text, restarts, engine_pid: pid }, 'engine');
  }, ENGINE_STATE_MS).unref();
  app.addHook('onClose', () => {
    clearInterval(timer);
  });
}
