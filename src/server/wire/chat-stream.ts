// A caption's events as OpenAI's stream: unnamed data lines, comments while there is nothing to say, [DONE].
import type { SSESource } from '@fastify/sse';
import type { FastifyReply } from 'fastify';
import { Chunks, type ChunkOptions } from '../../openai/completion.ts';
import { snakeCase } from '../../output/caption-answer.ts';
import type { CaptionEnd, CaptionEvent } from '../../output/events.ts';
import { errorBody } from './error-reply.ts';
import { givenUp } from './run-caption.ts';

export interface ChatStreamOptions extends Omit<ChunkOptions, 'fingerprint'> {
  /** stages as named events; otherwise they are comments, since OpenAI's clients read every event as a chunk */
  readonly stageEvents: boolean;
  fingerprint(profile: string): string;
  extras(end: CaptionEnd): unknown;
}

type Stage = Extract<CaptionEvent, { type: 'stage' }>;

/** Writes no faster than the client reads, and never waits for one that has left. */
class Writer {
  readonly #reply: FastifyReply;
  readonly #left: Promise<unknown>;

  constructor(reply: FastifyReply) {
    this.#reply = reply;
    this.#left = reply.raw.closed ? Promise.resolve() : new Promise((resolve) => reply.raw.once('close', resolve));
  }

  async send(...messages: readonly SSESource[]): Promise<void> {
    for (const message of messages) {
      if (!this.#reply.sse.isConnected) return;
      await Promise.race([this.#reply.sse.send(message), this.#left]);
    }
  }

  /** Only to a client that has read everything: a comment is for a line that would be silent otherwise. */
  comment(text: string): void {
    const { raw, sse } = this.#reply;
    if (!sse.isConnected || raw.writableNeedDrain) return;
    sse.sendHeaders();
    raw.write(`: ${text}\n\n`);
  }
}

async function sendStage({ stage, done, total }: Stage, writer: Writer, named: boolean): Promise<void> {
  if (named) await writer.send({ event: 'stage', data: { stage, done, total } });
  else writer.comment(`${stage} ${done}/${total}`);
}

/** Sends the events up to their ending, which is told as chunks or as one error, and then `[DONE]`. */
export async function sendChatStream(
  reply: FastifyReply,
  events: AsyncIterable<CaptionEvent>,
  options: ChatStreamOptions,
  signal: AbortSignal,
): Promise<void> {
  const writer = new Writer(reply);
  let chunks: Chunks | undefined;
  for await (const event of events) {
    if (event.type === 'stage') await sendStage(event, writer, options.stageEvents);
    else if (event.type === 'media') {
      chunks = new Chunks({ ...options, fingerprint: options.fingerprint(event.profile) });
      await writer.send(...chunks.first().map((data) => ({ data })));
    } else if (event.type === 'caption-error') await writer.send({ data: errorBody(event) });
    else if (event.type === 'caption-aborted') await writer.send({ data: errorBody(givenUp(signal)) });
    else if (chunks === undefined) throw new Error('A caption had text before its media. This is a bug.');
    else if (event.type === 'caption-end')
      await writer.send(...chunks.last(event, options.extras(event)).map((data) => ({ data })));
    else {
      const data = chunks.delta(event);
      if (data !== undefined) await writer.send({ data });
    }
  }
  await writer.send('[DONE]');
}

/** What OpenAI's answers have no place for. */
export function chatExtras({ profile, media, timings }: CaptionEnd): unknown {
  return { profile, media: snakeCase(media), timings: snakeCase(timings) };
}
