// The one place where an error becomes an HTTP response: OpenAI's shape with our string codes. Also for unknown
// paths, and for bytes that are no HTTP request.
import { STATUS_CODES, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { asAvocadoError, AvocadoError, ERRORS, type ErrorCode } from '../../base/errors.ts';
import type { Json } from '../../output/caption-answer.ts';

/** Retry-After of a full or stopping server, when the error has no better value. */
const RETRY_AFTER_SECONDS = 5;
/** How long a refused client may keep sending its body before its connection is closed. */
const UNREAD_BODY_MS = 5000;

const TYPES: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  403: 'permission_error',
  429: 'rate_limit_error',
};

function errorType(status: number): string {
  return TYPES[status] ?? (status < 500 ? 'invalid_request_error' : 'server_error');
}

/** The last part of each absolute path is enough for whoever knows the server. */
export function withoutPaths(text: string): string {
  return text.replace(/(?<![\w/:.])\/(?:[^\s/'"),;:]+\/)+/g, '…/');
}

/** What a client may read: never the words of an error that nobody foresaw, nor paths of this machine. */
function publicMessage({ code, message }: Pick<AvocadoError, 'code' | 'message'>): string {
  if (code === 'internal')
    return 'The server failed because of a mistake in it. Please report it: its log says more under the request’s id.';
  return ERRORS[code].status >= 500 ? withoutPaths(message) : message;
}

/** The body of every error response, also of an error event inside a stream. */
export function errorBody(error: {
  readonly code: ErrorCode;
  readonly message: string;
  readonly param?: string | undefined;
}): Record<string, Json> {
  return {
    error: {
      message: publicMessage(error),
      type: errorType(ERRORS[error.code].status),
      param: error.param ?? null,
      code: error.code,
    },
  };
}

/** Of a body that nobody reads. */
export function unknownType(cause?: unknown): AvocadoError {
  const sentence = 'Send multipart/form-data with the field file, or application/json with media.';
  return new AvocadoError('bad_request', sentence, { cause });
}

/** Fastify's own 4xx errors are mistakes of the client; every other unknown error is a bug of ours. */
export function asServerError(thrown: unknown): AvocadoError {
  if (thrown instanceof AvocadoError) return thrown;
  const { code, statusCode, message } = thrown as Partial<FastifyError>;
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') return unknownType(thrown);
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

/** Whether and when to retry. OpenAI's clients retry every 5xx by themselves unless x-should-retry forbids it. */
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

/** Node keeps reading the body of a refused client, so that it can read the response. This limits for how long. */
function limitUnreadBody({ raw }: FastifyRequest): void {
  if (raw.complete) return;
  setTimeout(() => {
    if (!raw.complete) raw.destroy(); // and its connection with it
  }, UNREAD_BODY_MS).unref();
}

/** The connection closes with the response: the client asked for it, or the server stops. */
function closesWith({ raw }: FastifyReply): boolean {
  return !raw.shouldKeepAlive || raw.getHeader('connection') === 'close';
}

/** All of the response is sent at once, and its end, which closes the connection, follows that of the body. */
async function* endWithBody(text: string, raw: IncomingMessage): AsyncGenerator<string> {
  yield text;
  raw.resume();
  await finished(raw).catch(() => undefined); // the client left, or its time is over
}

/** Fastify's error handler: responds with the status of the error table. */
export async function sendError(thrown: unknown, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const error = asServerError(thrown);
  const { status } = ERRORS[error.code];
  if (status >= 500) request.log.error({ err: error }, error.code);
  limitUnreadBody(request);
  if (status === 401) void reply.header('www-authenticate', 'Bearer realm="avocado"');
  void reply.code(status).headers(retryHeaders(error));
  if (request.raw.complete || !closesWith(reply)) return reply.send(errorBody(error));
  // A connection that is closed while a body arrives is reset, and the client loses the response.
  const text = JSON.stringify(errorBody(error));
  return reply
    .type('application/json; charset=utf-8')
    .header('content-length', Buffer.byteLength(text))
    .send(Readable.from(endWithBody(text, request.raw)));
}

/** Logs what the client of a stream is not told. A thrown error is logged where it becomes a response. */
export function logFailure(request: FastifyRequest, { code, message }: Pick<AvocadoError, 'code' | 'message'>): void {
  if (ERRORS[code].status >= 500) request.log.error({ err: new AvocadoError(code, message) }, code);
}

/** By lower-case name. */
type RawHeaders = Readonly<Record<string, string | number | readonly string[] | undefined>>;

/** Whether a path is one of a route, such as `/v1/jobs/:id`. */
function isPathOf(route: string, path: string): boolean {
  const [wanted, given] = [route.split('/'), path.split('/')];
  return wanted.length === given.length && wanted.every((part, at) => part.startsWith(':') || part === given[at]);
}

/**
 * Responds to unknown paths, and to known paths with an unsupported method. To be called before routes are added.
 * @param hint a sentence on where to go instead
 */
export function addNotFound(app: FastifyInstance, hint: string): void {
  const routes: { readonly url: string; readonly methods: readonly string[] }[] = [];
  app.addHook('onRoute', ({ url, method }) => void routes.push({ url, methods: [method].flat() }));
  app.setNotFoundHandler(async (request, reply) => {
    const path = request.url.split('?')[0] ?? '/';
    const found = routes.filter(({ url }) => isPathOf(url, path)).flatMap(({ methods }) => methods);
    const allowed = [...new Set(found)].filter((method) => method !== 'HEAD' && method !== 'OPTIONS');
    if (allowed.length === 0) throw new AvocadoError('not_found', `There is nothing at ${path}. ${hint}`);
    void reply.header('allow', allowed.join(', '));
    throw new AvocadoError('method_not_allowed', `${path} takes ${allowed.join(', ')}, not ${request.method}.`);
  });
}

function parseFailure(code: string | undefined): readonly [status: string, sentence: string, code?: ErrorCode] {
  if (code === 'HPE_HEADER_OVERFLOW')
    return [
      '431 Request Header Fields Too Large',
      'The head of the request is larger than this server takes. Send fewer or shorter headers.',
    ];
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return [
      '408 Request Timeout',
      'The head of the request took too long to arrive. Send it at once.',
      'deadline_exceeded',
    ];
  return [
    '400 Bad Request',
    'What arrived is no HTTP request this server can read. ' +
      'Send HTTP/1.1 with a valid head, and a body as long as it says.',
  ];
}

/** Node's `checkExpectation`: any but 100-continue, which Node answers itself. */
export function refuseExpectation({ headers, socket }: IncomingMessage): void {
  const expected = (headers.expect ?? '').slice(0, 50);
  const sentence = `This server does not know what it means to expect ${expected}. Leave the header Expect out.`;
  writeRaw(socket, '417 Expectation Failed', new AvocadoError('bad_request', sentence));
}

/**
 * Node's `clientError`: bytes that are not HTTP get an error in our shape, and their connection is closed.
 * @param headers of the answer
 */
export function handleClientError(error: Error, socket: Socket, headers: RawHeaders): void {
  const { code } = error as NodeJS.ErrnoException;
  // What failed to become a TLS connection cannot be answered.
  if (code === 'ECONNRESET' || code?.startsWith('ERR_SSL') === true || code === 'ERR_TLS_HANDSHAKE_TIMEOUT') {
    socket.destroy();
    return;
  }
  // Node's own field, and its own check: what follows a response that has begun would be read as part of it.
  const { _httpMessage: response } = socket as Socket & { readonly _httpMessage?: { readonly headersSent: boolean } };
  if (response?.headersSent === true) {
    socket.destroy();
    return;
  }
  const [status, sentence, publicCode = 'bad_request'] = parseFailure(code);
  writeRaw(socket, status, new AvocadoError(publicCode, sentence), headers);
}

/** Answers a request whose body will not be waited for. Whoever reads the body gets an error from its socket. */
export function refuseUnfinished(reply: FastifyReply, error: AvocadoError): void {
  const { raw, request } = reply;
  if (raw.headersSent) raw.destroy();
  else refuseRaw(request.socket, error, reply.getHeaders());
}

/**
 * Answers a request that nothing else will answer, because it has not arrived in full; its connection is closed. No
 * response may have begun.
 */
export function refuseRaw(socket: Socket, error: AvocadoError, headers: RawHeaders): void {
  const { status } = ERRORS[error.code];
  writeRaw(socket, `${status} ${STATUS_CODES[status] ?? 'Error'}`, error, headers);
}

/** The client has a while to read the answer, also while it still sends. */
function writeRaw(socket: Socket, status: string, error: AvocadoError, given: RawHeaders = {}): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const body = JSON.stringify(errorBody(error));
  const headers = {
    ...given,
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    ...retryHeaders(error),
    connection: 'close',
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${String(value)}`);
  socket.end(`${[`HTTP/1.1 ${status}`, ...lines].join('\r\n')}\r\n\r\n${body}`);
  const timer = setTimeout(() => {
    socket.destroy();
  }, UNREAD_BODY_MS).unref();
  socket.once('close', () => {
    clearTimeout(timer);
  });
}
