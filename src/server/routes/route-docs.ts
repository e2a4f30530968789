// What the API's description says of each route, in one place. Routes check their requests themselves: nothing here validates.
import { CHAT_BODY } from '../../openai/chat-request.ts';
import { FORM_BODY, JSON_BODY } from '../wire/caption-body.ts';
import { MODELS, READINESS } from '../wire/docs/answers.ts';
import { errorAnswers, type DocumentedAnswer } from '../wire/docs/error-answers.ts';

/** OpenAPI's operation, in the words of fastify's route schemas. */
export interface RouteDoc {
  readonly summary: string;
  readonly description?: string;
  readonly tags: readonly [string];
  readonly params?: object;
  readonly headers?: object;
  readonly body?: { readonly content: Readonly<Record<string, { readonly schema: object }>> };
  readonly response: Readonly<Record<string, DocumentedAnswer>>;
  /** no key is asked for */
  readonly security?: readonly [];
}

function json(schema: object, description: string): DocumentedAnswer {
  return { description, content: { 'application/json': { schema } } };
}

function named(schema: string, description: string): DocumentedAnswer {
  return json({ $ref: `${schema}#` }, description);
}

const FILE = {
  type: 'string',
  contentMediaType: 'application/octet-stream',
  description: 'the video, picture or sound file',
};
const JSON_MEDIA = { 'application/json': { schema: JSON_BODY } };
const FORM = {
  'multipart/form-data': {
    schema: {
      ...FORM_BODY,
      properties: {
        file: FILE,
        options: { type: 'string', description: 'several options as one JSON object' },
        ...FORM_BODY.properties,
      },
      required: ['file'],
    },
  },
};
const EVENTS = {
  type: 'string',
  description:
    'Events stage, media, text-delta, and exactly one of caption-end, caption-error, caption-aborted; each with JSON data.',
};
const HEADERS = {
  type: 'object',
  properties: {
    'x-request-id': {
      type: 'string',
      pattern: '^[A-Za-z0-9._-]{8,64}$',
      description: 'an id of your own, by which the request can be cancelled',
    },
    'x-request-timeout': {
      type: 'number',
      description: 'seconds the request may take in all; the field timeout goes before it',
    },
  },
};
const MEDIA_HELP =
  'The file comes as an upload (form field file), or JSON names it in media: an https:, http: or data: URL, or media://NAME/path of a --media-root.';

const captions: RouteDoc = {
  summary: 'Caption a video, a picture or a sound file',
  description: `${MEDIA_HELP} With stream: true (or Accept: text/event-stream) the caption arrives as server-sent events.`,
  tags: ['captions'],
  headers: HEADERS,
  body: { content: { ...FORM, ...JSON_MEDIA } },
  response: {
    200: {
      description: 'The caption, in one piece or as events',
      content: { 'application/json': { schema: { $ref: 'Caption#' } }, 'text/event-stream': { schema: EVENTS } },
    },
    ...errorAnswers(),
  },
};

const chat: RouteDoc = {
  summary: 'The same in the shape of OpenAI’s chat completions',
  description:
    'One user message with text and one video_url, input_video, audio_url, input_audio, image_url or file. Fields of OpenAI’s that ask for nothing here are put aside and named in the header x-avocado-ignored-fields.',
  tags: ['OpenAI'],
  headers: HEADERS,
  body: { content: { 'application/json': { schema: CHAT_BODY } } },
  response: {
    200: {
      description: 'The caption, in one piece or as chunks that end with [DONE]',
      content: {
        'application/json': { schema: { $ref: 'ChatCompletion#' } },
        'text/event-stream': { schema: { type: 'string' } },
      },
    },
    ...errorAnswers(),
  },
};

const live: RouteDoc = {
  summary: 'Is it alive? (work that is due goes forward)',
  tags: ['health'],
  security: [],
  response: {
    200: named('Liveness', 'Alive; also while the engine loads or restarts'),
    503: named('Liveness', 'Restart the server'),
  },
};
const ready: RouteDoc = {
  summary: 'Does it take requests?',
  tags: ['health'],
  security: [],
  response: { 200: named('Readiness', 'It does'), 503: named('Readiness', 'Not now: see status and text') },
};
const metrics: RouteDoc = {
  summary: 'Metrics in Prometheus’ text format',
  tags: ['health'],
  response: {
    200: { description: 'Metrics', content: { 'text/plain': { schema: { type: 'string' } } } },
    ...errorAnswers(['unauthorized']),
  },
};
const PING = { type: 'object', properties: { status: READINESS.properties.status }, required: ['status'] };
const idParameter = { type: 'object', properties: { id: { type: 'string' } }, required: ['id'] };

/** By method and path as routes are declared. */
export const ROUTE_DOCS: Readonly<Record<string, RouteDoc>> = {
  'POST /v1/captions': captions,
  'POST /v1/captions/estimate': {
    ...captions,
    summary: 'What a caption would take: frames, tokens, seconds',
    description: `${MEDIA_HELP} Its headers are read, nothing is decoded.`,
    response: { 200: named('Estimate', 'The estimate'), ...errorAnswers() },
  },
  'DELETE /v1/captions/:id': {
    summary: 'Give up a request that is being answered',
    tags: ['captions'],
    params: idParameter,
    response: { 204: { description: 'It was given up', type: 'null' }, ...errorAnswers(['unauthorized', 'not_found']) },
  },
  'POST /v1/chat/completions': chat,
  'GET /v1/models': {
    summary: 'The model of this server',
    tags: ['OpenAI'],
    response: { 200: json(MODELS, 'One model'), ...errorAnswers(['unauthorized']) },
  },
  'GET /v1/models/:id': {
    summary: 'The model, by name',
    tags: ['OpenAI'],
    params: idParameter,
    response: { 200: named('Model', 'The model'), ...errorAnswers(['unauthorized', 'model_not_found']) },
  },
  'GET /healthz': live,
  'GET /v1/health/live': live,
  'GET /readyz': ready,
  'GET /health': ready,
  'GET /v1/health/ready': ready,
  'GET /ping': {
    summary: 'Can it be used? (also when full)',
    tags: ['health'],
    security: [],
    response: { 200: json(PING, 'It can'), 503: json(PING, 'Not now') },
  },
  'GET /version': {
    summary: 'Version of this software',
    tags: ['health'],
    response: {
      200: json({ type: 'object', properties: { version: { type: 'string' } } }, 'The version'),
      ...errorAnswers(['unauthorized']),
    },
  },
  'GET /metrics': metrics,
  'GET /v1/metrics': metrics,
};
