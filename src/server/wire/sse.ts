// Caption events as server-sent events. Framing, heartbeat and drain are @fastify/sse's; what it does not do is here:
// a client that leaves while we wait for its socket must not leave us waiting.
import type { SSEMessage } from '@fastify/sse';
import type { FastifyReply } from 'fastify';
import { captionAnswer, mediaAnswer, tokenDetails, tokensAnswer, type Json } from '../../output/caption-answer.ts';
import type { CaptionEvent, TextDelta } from '../../output/events.ts';
import { errorBody } from './error-reply.ts';

export interface StreamShape {
  readonly id: string;
  readonly model: string;
  readonly tokenIds: boolean;
  /** captions of the one prompt: of several, every delta tells its index */
  readonly samples: number;
}

/** @returns undefined when it says nothing that was asked for */
function deltaOf(delta: TextDelta, { id, samples, tokenIds }: StreamShape): Record<string, Json> | undefined {
  const tokens = tokensAnswer(delta, { tokenIds });
  if (delta.text === '' && Object.keys(tokens).length === 0) return undefined;
  return { id, ...(samples > 1 ? { index: delta.index } : {}), text: delta.text, ...tokens };
}

/** @returns the event's data; undefined when it says nothing a client can use */
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
      return deltaOf(event, shape);
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

/** Sends every event as it comes, no faster than the client reads, and ends the stream after the last one. */
export async function sendEvents(
  reply: FastifyReply,
  events: AsyncIterable<CaptionEvent>,
  shape: StreamShape,
): Promise<void> {
  const left = reply.raw.closed ? Promise.resolve() : new Promise((resolve) => reply.raw.once('close', resolve));
  let number = 0;
  // A client that left is not a reason to stop reading: the caption has been aborted and its ending is still to come.
  for await (const event of events) {
    const data = dataOf(event, shape);
    if (data === undefined || !reply.sse.isConnected) continue;
    number += 1;
    const message: SSEMessage = { id: String(number), event: event.type, data };
    await Promise.race([reply.sse.send(message), left]);
  }
}
