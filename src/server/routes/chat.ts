import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { captionRequest } from '../../captioner/caption-options.ts';
import type { CaptionerModel } from '../../captioner/captioner.ts';
import { AvocadoError } from '../../base/errors.ts';
import { readChatRequest, type ChatRequest } from '../../openai/chat-request.ts';
import { chatCompletion } from '../../openai/completion.ts';
import { completionHead, systemFingerprint } from '../../openai/completion.ts';
import { checkModel } from '../../openai/model-card.ts';
import type { CaptionTask } from '../../admission/types.ts';
import type { CaptionEvent, CaptionRequest } from '../../output/events.ts';
import { afterGoodStart } from '../wire/hold-until-first-event.ts';
import { chatExtras, sendChatStream, type ChatStreamOptions } from '../wire/chat-stream.ts';
import { captionRoute, finishedCaption, timeoutOf, withAdmission, type CaptionParts } from '../wire/run-caption.ts';

/** Of a body's own making, so they are bounded before they become a header. */
const MOST_NAMES = 32;
const MOST_NAME_CHARACTERS = 64;

function tellIgnored(reply: FastifyReply, fields: readonly string[]): void {
  if (fields.length === 0) return;
  const names = fields
    .slice(0, MOST_NAMES)
    .map((field) => field.slice(0, MOST_NAME_CHARACTERS).replace(/[^\w.-]/g, '?'));
  void reply.header('x-avocado-ignored-fields', names.join(', '));
}

/** @throws AvocadoError that names the field as the client does */
function captionOf({ options, nameField }: ChatRequest): CaptionRequest {
  try {
    return captionRequest('', options, nameField);
  } catch (thrown) {
    if (!(thrown instanceof AvocadoError) || thrown.param === undefined) throw thrown;
    throw new AvocadoError(thrown.code, thrown.message, { param: nameField(thrown.param), cause: thrown });
  }
}

function jobOf(chat: ChatRequest, request: FastifyRequest, { intake, config }: CaptionParts): CaptionTask {
  const timeoutSeconds = timeoutOf(request, chat.timeoutSeconds, config);
  const caption = { ...captionOf(chat), priority: chat.priority };
  const { media } = chat;
  // Last, since a source must be released, and from here on the admission does it.
  const source =
    media.type === 'reference'
      ? intake.fromReference(media.url, media.param)
      : intake.fromBase64(media.data, media.format, media.displayName ?? 'the message', media.param);
  return { source, request: caption, timeoutSeconds };
}

/** Fields under the client's names for them. */
async function* underTheirNames(events: AsyncIterable<CaptionEvent>, chat: ChatRequest): AsyncGenerator<CaptionEvent> {
  for await (const event of events)
    yield event.type === 'caption-error' && event.param !== undefined
      ? { ...event, param: chat.nameField(event.param) }
      : event;
}

function wantsStageEvents({ query, headers }: FastifyRequest): boolean {
  return (
    (query as Readonly<Record<string, unknown>>)['stage_events'] === 'true' ||
    headers['x-avocado-stage-events'] === 'true'
  );
}

function streamOptions(
  chat: ChatRequest,
  request: FastifyRequest,
  job: CaptionTask,
  model: CaptionerModel,
): ChatStreamOptions {
  return {
    head: completionHead(request.id, model, Date.now()),
    samples: job.request.samples,
    includeUsage: chat.answer.includeUsage,
    stageEvents: wantsStageEvents(request),
    fingerprint: (profile) => systemFingerprint(model, profile),
    extras: chatExtras,
  };
}

/** POST /v1/chat/completions: captions for OpenAI's clients. */
export function addChatRoute(app: FastifyInstance, parts: CaptionParts): void {
  const { captioner, config } = parts;
  app.post('/v1/chat/completions', captionRoute(parts), (request, reply) =>
    withAdmission(parts, request, reply, async (admitted, observation) => {
      const chat = readChatRequest(request.body);
      tellIgnored(reply, chat.ignored);
      const { model } = captioner;
      checkModel(chat.model, model);
      const job = jobOf(chat, request, parts);
      const events = underTheirNames(observation.watch(admitted.run(job), job), chat);
      const options = streamOptions(chat, request, job, model);
      if (!chat.answer.stream) {
        const end = await finishedCaption(events, admitted.signal);
        return chatCompletion(end, options.head, options.fingerprint(end.profile), options.extras(end));
      }
      // A client that watches the stages wants the first of them now, and reads errors in the stream.
      const patienceMs = options.stageEvents ? 0 : config.heartbeatMs;
      await sendChatStream(reply, afterGoodStart(events, patienceMs, admitted.signal), options, admitted.signal);
      return undefined;
    }),
  );
}
