// POST /v1/chat/completions: captions for OpenAI's clients, in one piece or as chunks that end with [DONE].
import type { SSESource } from '@fastify/sse';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { CaptionTask } from '../../admission/types.ts';
import { abortError } from '../../base/abort.ts';
import { AvocadoError } from '../../base/errors.ts';
import { captionRequest } from '../../captioner/caption-options.ts';
import type { CaptionerModel } from '../../captioner/captioner.ts';
import { CHAT_BODY, readChatRequest, type ChatRequest } from '../../openai/chat-request.ts';
import { chatCompletion, Chunks, completionHead, systemFingerprint } from '../../openai/completion.ts';
import { checkModel } from '../../openai/model-card.ts';
import { segmentAnswer, snakeCase } from '../../output/caption-answer.ts';
import { timelineHeading } from '../../output/subtitles.ts';
import type { CaptionEnd, CaptionEvent, CaptionRequest } from '../../output/events.ts';
import { isEnding } from '../../output/ending.ts';
import {
  captionEnd,
  captionRoute,
  failureOf,
  readEvents,
  startCaption,
  timeoutOf,
  type CaptionCall,
  type CaptionParts,
} from '../caption-route.ts';
import type { Route } from '../route.ts';
import { errorBody, logFailure } from '../wire/error-reply.ts';
import { EventStream } from '../wire/sse.ts';

/** The names of ignored fields come from the body, so they are limited before they go into a header. */
const MAX_NAMES = 32;
const MAX_NAME_CHARACTERS = 64;

export function chatRoutes(parts: CaptionParts): Route[] {
  return [
    captionRoute(parts, {
      url: '/v1/chat/completions',
      docs: {
        tag: 'OpenAI',
        summary: 'Caption a file with a request in the shape of OpenAI’s chat completions',
        description:
          'One user message with text and one video_url, input_video, audio_url, input_audio, image_url or file. ' +
          'Fields of OpenAI’s that this server does not use are ignored and listed in x-avocado-ignored-fields.',
        responses: {
          200: {
            description: 'The caption, as one JSON object or as chunks that end with [DONE]',
            content: {
              'application/json': { schema: { $ref: 'ChatCompletion#' } },
              'text/event-stream': { schema: { type: 'string' } },
            },
          },
        },
      },
      body: { content: { 'application/json': CHAT_BODY }, read: (request) => readChatRequest(request.body) },
      handler: (call) => chat(call, parts),
    }),
  ];
}

async function chat(call: CaptionCall<ChatRequest>, parts: CaptionParts): Promise<unknown> {
  const { request, reply, body, admitted, observation } = call;
  const { model } = parts.captioner;
  sendIgnoredFields(reply, body.ignored);
  checkModel(body.model, model);
  const task = chatTask(body, request, parts, request.context.keyName ?? '');
  const head = completionHead(request.id, model, Date.now());
  const fingerprint = (profile: string): string => systemFingerprint(model, profile);
  const events = startCaption(call, task);

  if (!body.answer.stream) {
    const end = captionEnd(withClientNames(await readEvents(events, observation), body), admitted.signal);
    return chatAnswer(end, request.id, model);
  }
  const stageEvents = wantsStageEvents(request);
  // Until the first event of the caption itself, an error can still be an HTTP status, which clients understand
  // better than an error inside a stream. A client that asked for the stages wants the first one at once.
  const first = await events.peek(({ type }) => type !== 'stage', stageEvents ? 0 : parts.config.heartbeatMs);
  if (first !== undefined && isEnding(first) && first.type !== 'caption-end') {
    observation.count(first);
    throw failureOf(withClientNames(first, body), admitted.signal);
  }
  const stream = new EventStream(request, reply);
  const { includeUsage } = body.answer;
  const toMessages = messages({ head, samples: task.request.samples, includeUsage, fingerprint }, admitted.signal);
  await readEvents(events, observation, async (event) => {
    if (event.type === 'caption-error') logFailure(request, event);
    if (event.type !== 'stage') await stream.send(...toMessages(withClientNames(event, body)));
    // Stages are comments unless asked for, because OpenAI's clients read every event as a chunk.
    else if (!stageEvents) stream.comment(`${event.stage} ${event.done}/${event.total}`);
    else await stream.send({ event: 'stage', data: { stage: event.stage, done: event.done, total: event.total } });
  });
  await stream.send('[DONE]');
  return undefined;
}

function sendIgnoredFields(reply: FastifyReply, fields: readonly string[]): void {
  if (fields.length === 0) return;
  const names = fields
    .slice(0, MAX_NAMES)
    .map((field) => field.slice(0, MAX_NAME_CHARACTERS).replace(/[^\w.[\]-]/g, '?'));
  void reply.header('x-avocado-ignored-fields', names.join(', '));
}

/** @throws AvocadoError with the client's name of the field in `param` */
function captionOf({ options, nameField }: ChatRequest): CaptionRequest {
  try {
    return captionRequest('', options, nameField);
  } catch (thrown) {
    if (!(thrown instanceof AvocadoError) || thrown.param === undefined) throw thrown;
    throw new AvocadoError(thrown.code, thrown.message, { param: nameField(thrown.param), cause: thrown });
  }
}

/** @throws AvocadoError `bad_request`, those of a media reference; with the client's name of the field */
export function chatTask(
  chatRequest: ChatRequest,
  request: Pick<FastifyRequest, 'headers'>,
  { intake, config }: Pick<CaptionParts, 'intake' | 'config'>,
  owner: string,
): CaptionTask {
  const timeoutSeconds = timeoutOf(request, chatRequest.timeoutSeconds, config);
  const caption = { ...captionOf(chatRequest), priority: chatRequest.priority };
  const { media } = chatRequest;
  // Last, because a source must be released. Once the task exists, the admission releases it.
  const source =
    media.type === 'reference'
      ? intake.fromReference(media.url, media.param, owner)
      : intake.fromBase64(media.data, media.format, media.displayName ?? 'the message', media.param);
  return { source, request: caption, timeoutSeconds };
}

/** A caption as OpenAI's response in one piece. */
export function chatAnswer(end: CaptionEnd, id: string, model: CaptionerModel): ReturnType<typeof chatCompletion> {
  return chatCompletion(
    end,
    completionHead(id, model, Date.now()),
    systemFingerprint(model, end.profile),
    extrasOf(end),
  );
}

function wantsStageEvents({ query, headers }: FastifyRequest): boolean {
  return (
    (query as Readonly<Record<string, unknown>>)['stage_events'] === 'true' ||
    headers['x-avocado-stage-events'] === 'true'
  );
}

/** An error names the field as the client calls it. */
export function withClientNames<Event extends CaptionEvent>(event: Event, { nameField }: ChatRequest): Event {
  return event.type === 'caption-error' && event.param !== undefined
    ? { ...event, param: nameField(event.param) }
    : event;
}

interface ChatShape extends Omit<ConstructorParameters<typeof Chunks>[0], 'fingerprint'> {
  fingerprint(profile: string): string;
}

/** @returns the messages of an event, in order */
function messages(
  shape: ChatShape,
  signal: AbortSignal,
): (event: Exclude<CaptionEvent, { type: 'stage' }>) => readonly SSESource[] {
  let chunks: Chunks | undefined;
  const data = (chunk: unknown): SSESource => ({ data: chunk });
  return (event) => {
    if (event.type === 'media') {
      chunks = new Chunks({ ...shape, fingerprint: shape.fingerprint(event.profile) });
      return chunks.first().map(data);
    }
    if (event.type === 'caption-error') return [data(errorBody(event))];
    if (event.type === 'caption-aborted') return [data(errorBody(abortError(signal)))];
    if (event.type === 'segment-end') return [];
    if (chunks === undefined) throw new Error('A caption had text before its media. This is a bug.');
    if (event.type === 'segment-start') {
      const text = timelineHeading(event, event.index === 0);
      return [chunks.delta({ type: 'text-delta', index: 0, text, tokenIds: [], logprobs: [] })].map(data);
    }
    if (event.type === 'caption-end') return chunks.last(event, extrasOf(event)).map(data);
    const delta = chunks.delta(event);
    return delta === undefined ? [] : [data(delta)];
  };
}

/** What OpenAI's response has no field for. */
function extrasOf({ profile, media, timings, segments }: CaptionEnd): unknown {
  const told = segments === undefined ? {} : { segments: segments.map(segmentAnswer) };
  return { profile, media: snakeCase(media), timings: snakeCase(timings), ...told };
}
