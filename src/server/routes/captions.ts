// POST /v1/captions, as JSON or as an event stream; its estimate; and DELETE /v1/captions/ID, which cancels a request.
import type { SSEMessage } from '@fastify/sse';
import { Type } from '../../base/schema.ts';
import type { TaskEstimate } from '../../admission/types.ts';
import { AvocadoError } from '../../base/errors.ts';
import {
  captionAnswer,
  mediaAnswer,
  snakeCase,
  tokenDetails,
  tokensAnswer,
  type Json,
} from '../../output/caption-answer.ts';
import type { CaptionEvent, TextDelta } from '../../output/events.ts';
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
  'Events stage, media, text-delta, and exactly one of caption-end, caption-error, caption-aborted; ' +
  'each with JSON data.';

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
      return { id: request.id, ...captionAnswer(end, model, { tokenIds }) };
    },
  });
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
  return { id, ...(samples > 1 ? { index: delta.index } : {}), text: delta.text, ...tokens };
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
  const { kind, durationSeconds, video, audio, promptTokens, maxTokens, context, fits, profile } = estimated;
  const { total, ...byModality } = promptTokens;
  return {
    media: snakeCase({ kind, durationSeconds, video, audio }),
    prompt_tokens: total,
    prompt_tokens_details: tokenDetails(byModality),
    budget: { context, prompt: total, left: Math.max(0, context - total), max_tokens: maxTokens, fits },
    expected_seconds: { work: roundedSeconds(estimated.workSeconds), queue: roundedSeconds(estimated.queueSeconds) },
    profile,
  };
}
