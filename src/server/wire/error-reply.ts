// The one place where an error becomes an HTTP answer (OpenAI's shape, with our string codes).
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { asAvocadoError, AvocadoError, ERRORS, type ErrorCode } from '../../base/errors.ts';
import type { Json } from '../../output/caption-answer.ts';

/** When a full or stopping server may be asked again, where nobody could compute it. */
const RETRY_AFTER_SECONDS = 5;
/** How long a refused client may go on sending its body before its connection is closed. */
const UNREAD_BODY_MS = 5000;

const TYPES: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  403: 'permission_error',
  429: 'rate_limit_error',
};

function errorType(status: number): string {
  return TYPES[status] ?? (status < 500 ? 'invalid_request_error' : 'server_error');
}

/** The body of every error, also inside an event stream. */
export function errorBody(error: {
  readonly code: ErrorCode;
  readonly message: string;
  readonly param?: string | undefined;
}): Record<string, Json> {
  return {
    error: {
      message: error.message,
      type: errorType(ERRORS[error.code].status),
      param: error.param ?? null,
      code: error.code,
    },
  };
}

/** Fastify's complaints about a request are the client's faults; everything else unknown is ours. */
export function asServerError(thrown: unknown): AvocadoError {
  if (thrown instanceof AvocadoError) return thrown;
  const { code, statusCode, message } = thrown as Partial<FastifyError>;
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    return new AvocadoError(
      'bad_request',
      'Send multipart/form-data with the field file, or application/json with media.',
      { cause: thrown },
    );
  }
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new AvocadoError(
      'media_too_large',
      'The body is larger than this server takes. Send a smaller file, or a form instead of JSON.',
      { cause: thrown },
    );
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500)
    return new AvocadoError('bad_request', `${message ?? 'The request is malformed'}.`.replace(/\.\.$/, '.'), {
      cause: thrown,
    });
  return asAvocadoError(thrown);
}

/** Headers by which clients know whether and when to ask again. OpenAI's repeat 5xx by themselves unless told that it cannot help. */
function retryHeaders({ code, retryAfterSeconds }: AvocadoError): Record<string, string> {
  const { status, retry } = ERRORS[code];
  const headers = { 'x-should-retry': String(retry) };
  const seconds = retryAfterSeconds ?? (status === 429 || status === 503 ? RETRY_AFTER_SECONDS : undefined);
  if (seconds === undefined) return headers;
  return {
    ...headers,
    'retry-after': String(Math.max(1, Math.ceil(seconds))),
    'retry-after-ms': String(Math.max(1, Math.round(seconds * 1000))),
  };
}

/** Node reads on what a refused client sends, so that it can read the answer; not for ever. */
function leaveBody({ raw }: FastifyRequest): void {
  if (raw.complete) return;
  setTimeout(() => {
    if (!raw.complete) raw.socket.destroy();
  }, UNREAD_BODY_MS).unref();
}

/** Answers with the status of the error table. */
export async function sendError(thrown: unknown, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const error = asServerError(thrown);
  const { status } = ERRORS[error.code];
  if (status >= 500) request.log.error({ err: error }, error.code);
  leaveBody(request);
  if (status === 401) void reply.header('www-authenticate', 'Bearer realm="avocado"');
  return reply.code(status).headers(retryHeaders(error)).send(errorBody(error));
}
