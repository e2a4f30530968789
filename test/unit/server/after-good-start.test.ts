import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import { afterGoodStart } from '../../../src/server/wire/hold-until-first-event.ts';
import type { CaptionEvent } from '../../../src/output/events.ts';

const LONG_MS = 60_000;
const stage = (done: number): CaptionEvent => ({ type: 'stage', stage: 'fetch', done, total: 9 });
const word: CaptionEvent = { type: 'text-delta', index: 0, text: 'A', tokenIds: [1], logprobs: [0] };
const failed: CaptionEvent = {
  type: 'caption-error',
  code: 'media_undecodable',
  message: 'The clip is broken.',
  param: 'messages',
};

async function* told(events: readonly CaptionEvent[], log: string[] = [], pauseMs = 0): AsyncGenerator<CaptionEvent> {
  try {
    for (const event of events) {
      if (pauseMs > 0) await sleep(pauseMs);
      log.push(event.type);
      yield event;
    }
  } finally {
    log.push('left');
  }
}

async function collect(events: AsyncIterable<CaptionEvent>): Promise<CaptionEvent[]> {
  const all: CaptionEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

const { signal } = new AbortController();

describe('afterGoodStart', () => {
  it('tells all events in order, the first of them only once it is known that there is something to tell', async () => {
    const log: string[] = [];
    const events = afterGoodStart(told([stage(0), stage(1), word, word], log), LONG_MS, signal);
    expect(await events.next()).toEqual({ done: false, value: stage(0) });
    expect(log).toEqual(['stage', 'stage', 'text-delta']);
    expect(await collect(events)).toEqual([stage(1), word, word]);
    expect(log.at(-1)).toBe('left');
  });

  it('throws an error that comes before anything was told', async () => {
    const log: string[] = [];
    await expect(collect(afterGoodStart(told([stage(0), failed], log), LONG_MS, signal))).rejects.toMatchObject({
      code: 'media_undecodable',
      message: 'The clip is broken.',
      param: 'messages',
    });
    expect(log.at(-1)).toBe('left');
  });

  it('tells why a request was given up before anything was told', async () => {
    const events = told([stage(0), { type: 'caption-aborted' }]);
    await expect(collect(afterGoodStart(events, LONG_MS, signal))).rejects.toMatchObject({ code: 'aborted' });
    const stopping = AbortSignal.abort(new AvocadoError('engine_unavailable', 'Stopping.'));
    await expect(collect(afterGoodStart(told([{ type: 'caption-aborted' }]), LONG_MS, stopping))).rejects.toMatchObject(
      { code: 'engine_unavailable' },
    );
  });

  it('tells what there is when nothing is decided for too long, and then an error as an event', async () => {
    expect(await collect(afterGoodStart(told([stage(0), stage(1), failed], [], 20), 30, signal))).toEqual([
      stage(0),
      stage(1),
      failed,
    ]);
    expect(await collect(afterGoodStart(told([failed], [], 20), 0, signal))).toEqual([failed]);
  });

  it('leaves the events when it is left', async () => {
    const log: string[] = [];
    for await (const event of afterGoodStart(told([word, word], log), LONG_MS, signal)) {
      expect(event).toEqual(word);
      break;
    }
    expect(log).toEqual(['text-delta', 'left']);
  });
});
