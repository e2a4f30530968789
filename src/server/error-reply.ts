// The one place where an error becomes an HTTP answer (OpenAI's shape, with our string codes).
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { asAvocadoError, AvocadoError, ERRORS, type ErrorCode } from '../errors.ts';
import type { Json } from '../stream/caption-answer.ts';

/** When a full or stopping server may be asked again. */
const RETRY_AFTER_SECONDS = 5;

function errorType(status: number): string {
  if (status === 403) return 'permission_error';
  return status < 500 ? 'invalid_request_error' : 'server_error';
}

/** The body of every error, also inside an event stream. */
export function errorBody(error: { readonly code: ErrorCode; readonly message: string; readonly param?: string | undefined }): Record<string, Json> {
  return { error: { message: error.message, type: errorType(ERRORS[error.code].status), param: error.param ?? null, code: error.code } };
}

/** Fastify's complaints about a request are the client's faults; everything else unknown is ours. */
export function asServerError(thrown: unknown): AvocadoError {
  if (thrown instanceof AvocadoError) return thrown;
  const { code, statusCode, message } = thrown as Partial<FastifyError>;
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    return new AvocadoError('bad_request', 'Send multipart/form-data with the field file, or application/json with media.', { cause: thrown });
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) return new AvocadoError('bad_request', `${message ?? 'The request is malformed'}.`.replace(/\.\.$/, '.'), { cause: thrown });
  return asAvocadoError(thrown);
}

/** Answers with the status of the error table. */
export async function sendError(thrown: unknown, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const error = asServerError(thrown);
  const { status, retry } = ERRORS[error.code];
  if (status >= 500) request.log.error({ err: error }, error.message);
  // OpenAI's clients repeat 5xx by themselves unless told that it cannot help.
  void reply.code(status).header('x-should-retry', String(retry));
  if (status === 429 || status === 503) void reply.header('retry-after', RETRY_AFTER_SECONDS);
  return reply.send(errorBody(error));
}
