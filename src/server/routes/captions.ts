// POST /v1/captions, as JSON or as an event stream; its estimate; and DELETE /v1/captions/ID, which cancels a request.
import type { SSEMessage } from '@fastify/sse';
import { Type } from '../../base/schema.ts';
import type { TaskEstimate } from '../../admission/types.ts';
import { AvocadoError } from '../../base/errors.ts';
import {
  captionAnswer,
  mediaAnswer,
  segmentAnswer,
  segmentTimes,
  snakeCase,
  tokenDetails,
  tokensAnswer,
  type Json,
} from '../../output/caption-answer.ts';
import type { CaptionEnd, CaptionEvent, TextDelta } from '../../output/events.ts';
import { srtText, vttText, wholeCaption, withScenes, type TimedCaption } from '../../output/subtitles.ts';
import { captionEnd, captionRoute, readEvents, startCaption, type CaptionParts } from '../caption-route.ts';
import { defineRoute, type Route } from '../route.ts';
import { captionBody, type CaptionBody } from '../wire/caption-body.ts';
import { errorBody, logFailure } from '../wire/error-reply.ts';
import { namedResponse } from '../wire/schemas.ts';
import { EventStream } from '../wire/sse.ts';

const MEDIA_HELP =
  'The file is an upload (form field file), or JSON names it in media: an https:, http: or data: URL, or ' +
  'media://NAME/path below a --media-root.';
const EVENTS_HELP =
  'Events stage, media, text-delta (with segments between segment-start and segment-end), and exactly one of ' +
  'caption-end, caption-error, caption-aborted; each with JSON data.';

export function captionRoutes(parts: CaptionParts): Route[] {
  return [captions(parts), estimate(parts), cancel(parts)];
}

function captions(parts: CaptionParts): Route {
  const { captioner } = parts;
  return captionRoute(parts, {
    url: '/v1/captions',
    docs: {
      tag: 'captions',
      summary: 'Caption a video, a picture or a sound file',
      description:
        `${MEDIA_HELP} With stream: true (or Accept: text/event-stream) ` +
        'the caption arrives as server-sent events.',
      responses: {
        200: {
          description: 'The caption, as one JSON object or as events',
          content: {
            'application/json': { schema: { $ref: 'Caption#' } },
            'text/event-stream': { schema: { type: 'string', description: EVENTS_HELP } },
            'text/vtt': { schema: { type: 'string', description: 'with Accept: text/vtt; a cue for each segment' } },
            'application/x-subrip': { schema: { type: 'string', description: 'the same as SubRip' } },
          },
        },
      },
    },
    body: captionBody(parts),
    handler: async ({ request, reply, body, admitted, observation }) => {
      const events = startCaption({ admitted, observation, reply }, body.task);
      const { tokenIds } = body;
      const model = captioner.model.name;
      if (wantsStream(body, request.headers.accept)) {
        const stream = new EventStream(request, reply);
        const toMessage = messages({ id: request.id, model, tokenIds, samples: body.task.request.samples });
        await readEvents(events, observation, async (event) => {
          if (event.type === 'caption-error') logFailure(request, event);
          const message = stream.isConnected ? toMessage(event) : undefined;
          if (message !== undefined) await stream.send(message);
        });
        return undefined;
      }
      const end = captionEnd(await readEvents(events, observation), admitted.signal);
      const subtitles = SUBTITLES.find(({ accept }) => accept.test(request.headers.accept ?? ''));
      if (subtitles !== undefined) return reply.type(subtitles.type).send(subtitles.write(cuesOf(end)));
      return { id: request.id, ...captionAnswer(end, model, { tokenIds }) };
    },
  });
}

/** Answers that are no JSON, by what the client accepts. */
const SUBTITLES = [
  { accept: /\btext\/vtt\b/i, type: 'text/vtt; charset=utf-8', write: vttText },
  { accept: /\bapplication\/x-subrip\b/i, type: 'application/x-subrip; charset=utf-8', write: srtText },
] as const;

/** A caption in one piece is one cue. */
function cuesOf({ segments, caption, media }: CaptionEnd): readonly TimedCaption[] {
  return segments === undefined ? [wholeCaption(caption, media)] : withScenes(segments);
}

function wantsStream({ stream }: CaptionBody, accept: string | undefined): boolean {
  return stream ?? /\btext\/event-stream\b/i.test(accept ?? '');
}

/** Fetches the file and reads its headers; decodes nothing. */
function estimate(parts: CaptionParts): Route {
  return captionRoute(parts, {
    url: '/v1/captions/estimate',
    docs: {
      tag: 'captions',
      summary: 'Estimate the frames, tokens and seconds of a caption',
      description: `${MEDIA_HELP} Only the headers of the file are read.`,
      responses: { 200: namedResponse('Estimate', 'The estimate') },
    },
    body: captionBody(parts),
    handler: async ({ request, body, admitted }) => ({
      id: request.id,
      ...estimateAnswer(await admitted.estimate(body.task)),
      model: parts.captioner.model.name,
    }),
  });
}

function cancel({ service }: CaptionParts): Route {
  return defineRoute({
    method: 'DELETE',
    url: '/v1/captions/:id',
    access: 'key',
    limit: 'none',
    params: Type.Object({ id: Type.String() }),
    docs: {
      tag: 'captions',
      summary: 'Cancel a request at any stage',
      responses: { 204: { description: 'The request was cancelled', type: 'null' } },
      errors: ['not_found'],
    },
    handler: async ({ request, reply, params: { id } }) => {
      if (!service.cancel(id, request.context.keyName))
        throw new AvocadoError(
          'not_found',
          `No request ${id} is being answered. It has ended, or never was; its id is the x-request-id of its answer.`,
        );
      return reply.code(204).send();
    },
  });
}

interface StreamShape {
  readonly id: string;
  readonly model: string;
  readonly tokenIds: boolean;
  /** with several captions of one prompt, every delta carries its index */
  readonly samples: number;
}

/** @returns undefined when the request did not ask for anything in it */
function deltaData(delta: TextDelta, { id, samples, tokenIds }: StreamShape): Record<string, Json> | undefined {
  const tokens = tokensAnswer(delta, { tokenIds });
  if (delta.text === '' && Object.keys(tokens).length === 0) return undefined;
  const { index, segment } = delta;
  return {
    id,
    ...(samples > 1 ? { index } : {}),
    ...(segment === undefined ? {} : { segment }),
    text: delta.text,
    ...tokens,
  };
}

function dataOf(event: CaptionEvent, shape: StreamShape): Record<string, Json> | undefined {
  const { id, model, tokenIds } = shape;
  switch (event.type) {
    case 'stage':
      return { id, stage: event.stage, done: event.done, total: event.total };
    case 'media':
      return {
        id,
        media: mediaAnswer(event.media),
        profile: event.profile,
        prompt_tokens: event.promptTokens.total,
        prompt_tokens_details: tokenDetails(event.promptTokens),
      };
    case 'text-delta':
      return deltaData(event, shape);
    case 'segment-start':
      return { id, ...segmentTimes(event) };
    case 'segment-end':
      return { id, ...segmentAnswer(event) };
    case 'caption-end':
      return { id, ...captionAnswer(event, model, { tokenIds }) };
    case 'caption-error':
      return { id, ...errorBody(event) };
    case 'caption-aborted':
      return { id };
    default:
      return event satisfies never;
  }
}

/** @returns the message of an event, numbered in order; undefined for an event without content for this client */
function messages(shape: StreamShape): (event: CaptionEvent) => SSEMessage | undefined {
  let count = 0;
  return (event) => {
    const data = dataOf(event, shape);
    if (data === undefined) return undefined;
    count += 1;
    return { id: String(count), event: event.type, data };
  };
}

/** To the millisecond: an estimate is no finer. */
function roundedSeconds(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}

function estimateAnswer(estimated: TaskEstimate): Record<string, Json> {
  const { kind, durationSeconds, video, audio, promptTokens, context, fits, profile, segments } = estimated;
  // The context holds one segment at a time.
  const { promptTokens: prompt, maxTokens } = segments ?? {
    promptTokens: promptTokens.total,
    maxTokens: estimated.maxTokens,
  };
  const { total, ...byModality } = promptTokens;
  return {
    media: snakeCase({ kind, durationSeconds, video, audio }),
    prompt_tokens: total,
    prompt_tokens_details: tokenDetails(byModality),
    budget: { context, prompt, left: Math.max(0, context - prompt), max_tokens: maxTokens, fits },
    ...(segments === undefined
      ? {}
      : { segments: { count: segments.count, seconds: roundedSeconds(segments.seconds) } }),
    expected_seconds: { work: roundedSeconds(estimated.workSeconds), queue: roundedSeconds(estimated.queueSeconds) },
    profile,
  };
}
