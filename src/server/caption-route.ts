// A route that captions: admitted before its body is read, cancelled when its client disconnects, counted once, and
// released however it ends.
import { Type } from '../base/schema.ts';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Admission } from '../admission/admission.ts';
import type { AdmittedRequest } from '../admission/request.ts';
import type { CaptionTask, RequestStage } from '../admission/types.ts';
import { abortError } from '../base/abort.ts';
import { AvocadoError } from '../base/errors.ts';
import type { EventChannel } from '../base/event-channel.ts';
import type { Captioner } from '../captioner/captioner.ts';
import type { Intake } from '../intake/intake.ts';
import { networkOf } from '../intake/url-policy.ts';
import type { CaptionEnd, CaptionEvent } from '../output/events.ts';
import { isEnding, type CaptionEnding } from '../output/ending.ts';
import type { ServerConfig } from '../settings/server-settings.ts';
import type { Metrics } from './observe/metrics.ts';
import type { RequestObservation } from './observe/request-metrics.ts';
import type { Route, RouteDocs } from './route.ts';
import { asServerError, refuseUnfinished } from './wire/error-reply.ts';
import { ALL_ERRORS } from './wire/schemas.ts';

export interface CaptionParts {
  readonly service: Admission;
  readonly intake: Intake;
  readonly config: ServerConfig;
  readonly metrics: Metrics;
  readonly captioner: Captioner;
}

type AdmissionParts = Pick<CaptionParts, 'service' | 'metrics'>;

/** How a body is read, and its schemas by content type for the API's description. */
export interface BodyReader<Body> {
  readonly content: Readonly<Record<string, Type.TSchema>>;
  /** @throws AvocadoError naming the field at fault; nothing stays on disk then */
  read(request: FastifyRequest): Body | Promise<Body>;
}

/** One admitted request whose body has been read. */
export interface CaptionCall<Body> {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly body: Body;
  readonly admitted: AdmittedRequest;
  readonly observation: RequestObservation;
}

interface CaptionRoute<Body> {
  readonly url: string;
  readonly docs: Omit<RouteDocs, 'headers' | 'body' | 'errors'>;
  readonly body: BodyReader<Body>;
  readonly handler: (call: CaptionCall<Body>) => Promise<unknown>;
}

/** Files inside JSON take a third more bytes and are written twice. Larger ones belong in a form or behind a URL. */
const MAX_JSON_BYTES = 64 * 1024 ** 2;
/** How long the last event of an aborted request may take to reach a client that does not read. */
const LAST_EVENT_MS = 5000;
/** How long a client may take to read what is left when its caption has ended: until then all of it is in memory. */
const REST_MS = 120_000;

const HEADERS = Type.Object({
  'x-request-id': Type.Optional(
    Type.String({
      pattern: '^[A-Za-z0-9._-]{8,64}$',
      description: 'an id of your own, with which the request can be cancelled',
    }),
  ),
  'x-request-timeout': Type.Optional(
    Type.Number({ description: 'deadline of the whole request in seconds; the field timeout takes precedence' }),
  ),
});

/** A full server refuses a request before it reads the body; the guards have run before that. */
export function captionRoute<Body>(parts: CaptionParts, { url, docs, body, handler }: CaptionRoute<Body>): Route {
  return {
    method: 'POST',
    url,
    access: 'key',
    limit: 'work',
    captions: true,
    docs: { ...docs, headers: HEADERS, body: body.content, errors: ALL_ERRORS },
    options: {
      sse: 'manual',
      bodyLimit: Math.min(MAX_JSON_BYTES, Math.ceil((parts.config.maxUploadBytes * 4) / 3) + 1024 ** 2),
      preParsing: (request, reply, payload, done) => {
        try {
          admit(parts, request, reply);
          done(null, payload);
        } catch (error) {
          done(error as Error);
        }
      },
    },
    handler: ({ request, reply }) =>
      withAdmission(request, async (admitted, observation) =>
        handler({ request, reply, body: await body.read(request), admitted, observation }),
      ),
  };
}

function destroyAfter(milliseconds: number, { raw, request }: FastifyReply): void {
  const timer = setTimeout(() => {
    raw.destroy();
  }, milliseconds).unref();
  request.context.defer(() => {
    clearTimeout(timer);
  });
}

/** @throws AvocadoError `queue_full`, `engine_unavailable`, counted */
export function admit({ service, metrics }: AdmissionParts, request: FastifyRequest, reply: FastifyReply): void {
  const { context } = request;
  const observation = metrics.observe();
  context.observation = observation;
  let admitted: AdmittedRequest;
  try {
    const { keyName: owner, behindMs, trace } = context;
    const sender = { owner, name: owner ?? networkOf(request.ip), behindMs, traceparent: trace?.traceparent };
    const onStage = (stage: RequestStage): void => trace?.stage(stage);
    admitted = service.admit(request.id, { ...sender, timeoutSeconds: headerSeconds(request), onStage });
  } catch (thrown) {
    observation.fail(asServerError(thrown).code);
    throw thrown;
  }
  context.admitted = admitted;
  const onAbort = (): void => {
    // Nobody waits for the rest of a body: not a deadline, nor a server that stops.
    if (!request.raw.complete) refuseUnfinished(reply, abortError(admitted.signal));
    // A client that no longer reads must not keep a stopping server open.
    destroyAfter(LAST_EVENT_MS, reply);
  };
  admitted.signal.addEventListener('abort', onAbort, { once: true });
  context.defer(() => {
    if (!reply.raw.writableFinished) admitted.abort(); // the client disconnected
    if (context.work !== undefined) return;
    // The handler never ran: the body was malformed, or the client left while it sent it.
    observation.fail(admitted.signal.aborted ? 'aborted' : 'bad_request');
    admitted.end();
  });
}

/**
 * Runs the handler of a request that `admit` has admitted. However it ends, the admission ends, and the
 * request is counted: by its events, or by the error that `use` throws.
 */
export function withAdmission<T>(
  { context }: FastifyRequest,
  use: (admitted: AdmittedRequest, observation: RequestObservation) => Promise<T>,
): Promise<T> {
  const { admitted, observation } = context;
  if (admitted === undefined || observation === undefined)
    throw new Error('A caption route ran without admission. This is a bug.');
  const run = async (): Promise<T> => {
    try {
      return await use(admitted, observation);
    } catch (thrown) {
      observation.fail(asServerError(thrown).code);
      throw thrown;
    } finally {
      admitted.end();
    }
  };
  const work = run();
  const ignore = (): void => undefined;
  context.work = work.then(ignore, ignore);
  return work;
}

/** Starts the caption. Its events must be read to their end, with {@link readEvents}. */
export function startCaption(
  { admitted, observation, reply }: Pick<CaptionCall<unknown>, 'admitted' | 'observation' | 'reply'>,
  task: CaptionTask,
): EventChannel<CaptionEvent> {
  observation.begin(task);
  return admitted.run(task, () => {
    destroyAfter(REST_MS, reply);
  });
}

/**
 * Reads all events and counts them. Also the events of a client that left are read: the caption has been aborted, and
 * its last event is still to come.
 * @param onEvent gets every event, and is waited for
 */
export async function readEvents(
  events: AsyncIterable<CaptionEvent>,
  observation: Pick<RequestObservation, 'count'>,
  onEvent: (event: CaptionEvent) => Promise<void> | undefined = () => undefined,
): Promise<CaptionEnding> {
  let ending: CaptionEnding | undefined;
  for await (const event of events) {
    observation.count(event);
    await onEvent(event);
    if (isEnding(event)) ending = event;
  }
  if (ending === undefined) throw new Error('A caption ended without a last event. This is a bug.');
  return ending;
}

/**
 * The caption, for a response in one piece.
 * @throws AvocadoError of a caption that failed or was cancelled
 */
export function captionEnd(ending: CaptionEnding, signal: AbortSignal): CaptionEnd {
  if (ending.type === 'caption-end') return ending;
  throw failureOf(ending, signal);
}

/** Why a caption failed, or was cancelled. */
export function failureOf(ending: Exclude<CaptionEnding, CaptionEnd>, signal: AbortSignal): AvocadoError {
  return ending.type === 'caption-aborted' ? abortError(signal) : new AvocadoError(ending.code, ending.message, ending);
}

/** A deadline of the header counts from the head of the request on: it also ends a body that does not come. */
function headerSeconds({ headers }: FastifyRequest): number | undefined {
  const seconds = Number(headers['x-request-timeout']);
  return Number.isFinite(seconds) && seconds > 0 ? seconds : undefined; // what is wrong with it is said later
}

/**
 * The deadline a client sets in seconds, in its body or in the header X-Request-Timeout.
 * @throws AvocadoError `bad_request`
 */
export function timeoutOf(
  request: Pick<FastifyRequest, 'headers'>,
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
