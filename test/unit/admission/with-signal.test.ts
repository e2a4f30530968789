import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import { endingWithSignal } from '../../../src/admission/with-signal.ts';
import type { CaptionEvent } from '../../../src/output/events.ts';

const LATE = new AvocadoError('deadline_exceeded', 'Too late.');
const STAGE: CaptionEvent = { type: 'stage', stage: 'probe', done: 0, total: 1 };
const ABORTED: CaptionEvent = { type: 'caption-aborted' };

function never<T>(): Promise<T> {
  return new Promise<T>(() => undefined);
}

async function collect(events: AsyncIterable<CaptionEvent>): Promise<CaptionEvent[]> {
  const seen: CaptionEvent[] = [];
  for await (const event of events) seen.push(event);
  return seen;
}

describe('endingWithSignal', () => {
  it('lets an aborted source end in its own way', async () => {
    const controller = new AbortController();
    async function* source(): AsyncGenerator<CaptionEvent> {
      yield STAGE;
      controller.abort(LATE);
      await sleep(10);
      yield ABORTED;
    }
    expect(await collect(endingWithSignal(source(), controller.signal, 5000))).toEqual([STAGE, ABORTED]);
  });

  it('leaves a source alone that hangs after the abort', async () => {
    const controller = new AbortController();
    async function* source(): AsyncGenerator<CaptionEvent> {
      yield STAGE;
      await never();
    }
    const events = endingWithSignal(source(), controller.signal, 10);
    expect((await events.next()).value).toBe(STAGE);
    const next = events.next();
    controller.abort(LATE);
    await expect(next).rejects.toBe(LATE);
    await expect(collect(endingWithSignal(source(), controller.signal, 10))).rejects.toBe(LATE);
  });

  it('ends the source of a reader that leaves', async () => {
    let left = false;
    async function* source(): AsyncGenerator<CaptionEvent> {
      try {
        for (;;) yield STAGE;
      } finally {
        await sleep(5);
        left = true;
      }
    }
    for await (const event of endingWithSignal(source(), new AbortController().signal, 1000)) {
      expect(event).toBe(STAGE);
      break;
    }
    expect(left).toBe(true);
  });
});
