// What every door that captions does around its own wire format: let in before the body is read, know when the client leaves,
// count, and let go. The events themselves come from serving/.
import type { FastifyReply, FastifyRequest, preParsingAsyncHookHandler } from 'fastify';
import type { Captioner } from '../../captioner/captioner.ts';
import { AvocadoError } from '../../base/errors.ts';
import type { Intake } from '../../intake/intake.ts';
import type { Admitted, CaptionService } from '../../admission/types.ts';
import type { CaptionEnd, CaptionEvent } from '../../output/events.ts';
import { keyNameOf } from '../guards/auth.ts';
import type { ServerConfig } from '../../settings/server-settings.ts';
import { asServerError } from './error-reply.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { RequestObservation } from '../observe/request-observation.ts';

export interface CaptionParts {
  readonly service: CaptionService;
  readonly intake: Intake;
  readonly config: ServerConfig;
  readonly metrics: Metrics;
  readonly captioner: Captioner;
}

interface Entry {
  readonly admitted: Admitted;
  readonly observation: RequestObservation;
  taken: boolean;
}

/** Files inside JSON (data URLs) lie in memory, twice while they arrive; larger ones belong into a form or behind a URL. */
const MOST_JSON_BYTES = 64 * 1024 ** 2;
/** How long an aborted request's last event may take to reach a client that does not read. */
const LAST_EVENT_MS = 5000;

const entries = new WeakMap<FastifyRequest, Entry>();

/** A response closed before its end: nobody reads on, in either kind of answer. */
function abortWhenClientLeaves(reply: FastifyReply, admitted: Admitted): void {
  // Without this, a client that stopped reading would hold up a server that stops.
  admitted.signal.addEventListener(
    'abort',
    () => {
      setTimeout(() => {
        reply.raw.destroy();
      }, LAST_EVENT_MS).unref();
    },
    { once: true },
  );
  if (reply.raw.closed) admitted.abort();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) admitted.abort();
  });
}

/** @throws AvocadoError `queue_full`, `engine_unavailable`, counted */
function enter(
  { service, metrics }: Pick<CaptionParts, 'service' | 'metrics'>,
  request: FastifyRequest,
  reply: FastifyReply,
): Entry {
  const observation = metrics.begin(request);
  let admitted: Admitted;
  try {
    admitted = service.admit(request.id, keyNameOf(request));
  } catch (thrown) {
    observation.refuse(asServerError(thrown).code);
    throw thrown;
  }
  const entry: Entry = { admitted, observation, taken: false };
  entries.set(request, entry);
  abortWhenClientLeaves(reply, admitted);
  reply.raw.once('close', () => {
    if (entry.taken) return;
    // The handler never ran: the body was malformed, or its sender left.
    observation.refuse(admitted.signal.aborted ? 'aborted' : 'bad_request');
    admitted.end();
  });
  return entry;
}

/**
 * Options of a route that captions: `app.post(path, captionRoute(parts), handler)`. A full server answers before it reads the
 * body; who may ask (hooks `onRequest`) is asked before. The handler then calls withAdmission.
 */
export function captionRoute(parts: Pick<CaptionParts, 'service' | 'metrics' | 'config'>): {
  readonly sse: 'manual';
  readonly bodyLimit: number;
  readonly preParsing: preParsingAsyncHookHandler;
} {
  return {
    sse: 'manual',
    bodyLimit: Math.min(MOST_JSON_BYTES, Math.ceil((parts.config.maxUploadBytes * 4) / 3) + 1024 ** 2),
    preParsing: async (request, reply, payload) => {
      enter(parts, request, reply);
      return payload;
    },
  };
}

/**
 * Runs a handler with the admission that captionRoute made. Whatever happens inside, the admission ends and the request is counted
 * once: by `observation.watch(events, job)`, or by what `use` throws.
 */
export async function withAdmission<T>(
  parts: Pick<CaptionParts, 'service' | 'metrics'>,
  request: FastifyRequest,
  reply: FastifyReply,
  use: (admitted: Admitted, observation: RequestObservation) => Promise<T>,
): Promise<T> {
  const entry = entries.get(request) ?? enter(parts, request, reply);
  entry.taken = true;
  const { admitted, observation } = entry;
  try {
    return await use(admitted, observation);
  } catch (thrown) {
    observation.refuse(asServerError(thrown).code);
    throw thrown;
  } finally {
    admitted.end();
  }
}

/** Why a request was given up, for its client. */
export function givenUp(signal: AbortSignal): AvocadoError {
  return signal.reason instanceof AvocadoError
    ? signal.reason
    : new AvocadoError('aborted', 'The request was cancelled.');
}

/**
 * The caption at the end of its events, for an answer in one piece.
 * @throws AvocadoError of a caption that failed or was given up
 */
export async function finishedCaption(events: AsyncIterable<CaptionEvent>, signal: AbortSignal): Promise<CaptionEnd> {
  for await (const event of events) {
    if (event.type === 'caption-end') return event;
    if (event.type === 'caption-error') throw new AvocadoError(event.code, event.message, event);
    if (event.type === 'caption-aborted') throw givenUp(signal);
  }
  throw new Error('A caption had no ending. This is a bug.');
}

/**
 * Seconds a client gives its request, from its body or from the header X-Request-Timeout.
 * @throws AvocadoError `bad_request`
 */
export function timeoutOf(
  request: FastifyRequest,
  field: number | undefined,
  { maxTimeoutSeconds }: Pick<ServerConfig, 'maxTimeoutSeconds'>,
): number | undefined {
  const header = request.headers['x-request-timeout'];
  const seconds = field ?? (header === undefined ? undefined : Number(header));
  if (seconds === undefined) return undefined;
  const param = field === undefined ? 'x-request-timeout' : 'timeout';
  if (Number.isFinite(seconds) && seconds > 0 && seconds <= maxTimeoutSeconds) return seconds;
  throw new AvocadoError(
    'bad_request',
    `${param} must be a number of seconds above 0 and at most ${maxTimeoutSeconds}.`,
    { param },
  );
}
