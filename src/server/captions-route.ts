import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Captioner } from '../captioner.ts';
import { AvocadoError } from '../errors.ts';
import { captionAnswer } from '../stream/caption-answer.ts';
import type { CaptionEvent, MediaReport } from '../stream/events.ts';
import { isEnding, oneEnding, type CaptionEnding } from '../stream/one-ending.ts';
import type { ServerConfig } from './config.ts';
import { asServerError } from './error-reply.ts';
import { takeIn, type Intake } from './intake.ts';
import type { LiveRequest, LiveRequests } from './live-requests.ts';
import type { Metrics } from './metrics.ts';
import { sendEvents, type StreamShape } from './sse.ts';
import type { Uploads } from './uploads.ts';

export interface CaptionsParts {
  readonly captioner: Captioner;
  readonly config: ServerConfig;
  readonly metrics: Metrics;
  readonly uploads: Uploads;
  readonly live: LiveRequests;
}

/** POST /v1/captions: streaming is the only path; the JSON answer collects the stream. */
export function addCaptionsRoute(app: FastifyInstance, parts: CaptionsParts): void {
  app.post('/v1/captions', { sse: 'manual' }, async (request, reply) => {
    const observation = parts.metrics.begin();
    try {
      const live = parts.live.begin();
      abortWhenClientLeaves(reply, live);
      try {
        const intake = await takeIn(request, parts.uploads, parts.config);
        try {
          const events = observation.watch(captionEvents(parts.captioner, intake, live.signal));
          const shape = { id: request.id, model: parts.captioner.model.name, tokenIds: intake.tokenIds };
          if (wantsStream(intake, request.headers.accept)) {
            await sendEvents(reply, events, shape);
            return undefined;
          }
          return answer(await endingOf(events), shape, parts.live.stopping);
        } finally {
          await intake.release();
        }
      } finally {
        live.end();
      }
    } catch (thrown) {
      observation.refuse(asServerError(thrown).code);
      throw thrown;
    }
  });
}

/** How long an aborted request's last event may take to reach a client that does not read. */
const LAST_EVENT_MS = 5000;

/** A response closed before its end: nobody reads on, in either kind of answer. */
function abortWhenClientLeaves(reply: FastifyReply, live: LiveRequest): void {
  // Without this, a client that stopped reading would hold up a server that stops.
  live.signal.addEventListener('abort', () => {
    setTimeout(() => { reply.raw.destroy(); }, LAST_EVENT_MS).unref();
  }, { once: true });
  if (reply.raw.closed) live.abort();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) live.abort();
  });
}

function wantsStream({ stream }: Intake, accept: string | undefined): boolean {
  return stream ?? /\btext\/event-stream\b/i.test(accept ?? '');
}

/** The captioner's events with one ending, and the file under the client's name for it wherever a sentence names it. */
async function* captionEvents(captioner: Captioner, { request, shownAs }: Intake, signal: AbortSignal): AsyncGenerator<CaptionEvent> {
  const rename = (text: string): string => text.replaceAll(request.path, () => shownAs); // a function, since `$&` in a string would bring our path back
  const renameMedia = (media: MediaReport): MediaReport => ({ ...media, warnings: media.warnings.map(rename) });
  for await (const event of oneEnding(captioner.caption(request, signal), signal)) {
    if (event.type === 'caption-error') yield { ...event, message: rename(event.message) };
    else if (event.type === 'media' || event.type === 'caption-end') yield { ...event, media: renameMedia(event.media) };
    else yield event;
  }
}

async function endingOf(events: AsyncIterable<CaptionEvent>): Promise<CaptionEnding> {
  for await (const event of events) if (isEnding(event)) return event;
  throw new Error('A caption had no ending. This is a bug.');
}

/** @throws AvocadoError of a caption that failed or was given up */
function answer(ending: CaptionEnding, { id, model, tokenIds }: StreamShape, stopping: boolean): Record<string, unknown> {
  switch (ending.type) {
    case 'caption-end':
      return { id, ...captionAnswer(ending, model, { tokenIds }) };
    case 'caption-error':
      throw new AvocadoError(ending.code, ending.message, ending.param === undefined ? {} : { param: ending.param });
    case 'caption-aborted':
      if (stopping) throw new AvocadoError('engine_unavailable', 'The server is stopping. Send the request again.');
      throw new AvocadoError('aborted', 'The request was cancelled.');
    default:
      return ending satisfies never;
  }
}
