import { EventChannel } from '../../../src/base/event-channel.ts';
import type { Priority } from '../../../src/base/priority-turns.ts';
import { Engine } from '../../../src/engine/engine.ts';
import { FakeDecoder } from './fake-decoder.ts';
import type { SamplingParams, SequenceEvent, SequenceRequest } from '../../../src/engine/types.ts';

export const GREEDY: SamplingParams = {
  temperature: 0,
  topP: 1,
  topK: 0,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  seed: undefined,
};

export interface RequestOptions {
  readonly length?: number;
  /** makes another prompt */
  readonly salt?: number;
  /** every n-th prompt row is media */
  readonly mediaEvery?: number;
  readonly maxTokens?: number;
  readonly sampling?: Partial<SamplingParams>;
  readonly stopIds?: readonly number[];
  readonly ropeDelta?: number;
  readonly priority?: Priority;
  readonly topLogprobs?: number;
  readonly suppress?: SequenceRequest['suppress'];
  /** rows from here on get another salt: prompts with the same start and different ends */
  readonly prefix?: { readonly key: string; readonly tokens: number; readonly salt: number };
}

/** A prompt for the fake decoder (hidden size 2), whose ids, positions and embeddings all differ from row to row. */
export function requestOf(options: RequestOptions = {}): SequenceRequest {
  const {
    length = 10,
    salt = 0,
    mediaEvery = 0,
    maxTokens = 8,
    stopIds = [],
    ropeDelta = -3,
    priority = 'interactive',
    topLogprobs = 0,
    suppress,
    prefix,
  } = options;
  const saltOf = (row: number): number => (prefix !== undefined && row < prefix.tokens ? prefix.salt : salt);
  const mediaRows = Int32Array.from(
    { length: mediaEvery === 0 ? 0 : Math.floor(length / mediaEvery) },
    (_, index) => index * mediaEvery + mediaEvery - 1,
  );
  return {
    ids: Int32Array.from({ length }, (_, index) => (index * 7 + saltOf(index) * 13) % 37),
    positions: Int32Array.from({ length: 3 * length }, (_, index) => index * 3 + saltOf(index % length)),
    ropeDelta,
    mediaRows,
    mediaEmbeds: Float32Array.from(
      { length: mediaRows.length * 2 },
      (_, index) => index / 8 + saltOf(mediaRows[index >> 1] ?? 0),
    ),
    sampling: { ...GREEDY, ...options.sampling },
    stopIds,
    maxTokens,
    priority,
    topLogprobs,
    suppress,
    prefix: prefix && { key: prefix.key, tokens: prefix.tokens },
  };
}

/** An engine whose events can be iterated; leaving the iteration aborts the sequence. */
export class StreamingEngine extends Engine {
  stream(request: SequenceRequest, signal?: AbortSignal): EventChannel<SequenceEvent> {
    let abort: () => void = () => undefined;
    const channel = new EventChannel<SequenceEvent>(() => {
      abort();
    });
    const onEvent = (event: SequenceEvent): void => {
      channel.push(event);
      if (isTerminal(event)) channel.close();
    };
    abort = this.submit(request, onEvent, signal);
    return channel;
  }
}

export async function collect(events: AsyncIterable<SequenceEvent>): Promise<SequenceEvent[]> {
  const seen: SequenceEvent[] = [];
  for await (const event of events) seen.push(event);
  return seen;
}

export function isTerminal(event: SequenceEvent): boolean {
  return event.type === 'end' || event.type === 'error' || event.type === 'aborted';
}

export function tokensOf(events: readonly SequenceEvent[]): number[] {
  return events.flatMap((event) => (event.type === 'token' ? [event.id] : []));
}

/** The tokens of a sequence in an engine of its own. */
export async function tokensAlone(request: SequenceRequest): Promise<number[]> {
  return tokensOf(await collect(new StreamingEngine(new FakeDecoder(), { prefillChunk: 4 }).stream(request)));
}

/** The last event in words, such as `end length` or `error engine_error`. */
export function endingOf(events: readonly SequenceEvent[]): string {
  const last = events.at(-1);
  if (last?.type === 'end') return `end ${last.reason}`;
  if (last?.type === 'error') return `error ${last.error.code}`;
  return last?.type ?? 'nothing';
}

/** Lets everything that is ready run, timers excepted. */
export async function settle(turns = 20): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
}
