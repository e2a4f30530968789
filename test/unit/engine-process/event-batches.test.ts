import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { EventBatches } from '../../../src/engine-process/event-batches.ts';
import type { EventBatch } from '../../../src/engine-process/messages.ts';
import type { CaptionEvent, TextDelta } from '../../../src/output/events.ts';
import { delta, endOf } from './fake-engine.ts';

let sent: (readonly EventBatch[])[];
let batches: EventBatches;

beforeEach(() => {
  vi.useFakeTimers();
  sent = [];
  batches = new EventBatches((batch) => sent.push(batch));
});
afterEach(() => {
  vi.useRealTimers();
});

const prefill: CaptionEvent = { type: 'stage', stage: 'prefill', done: 1, total: 1 };

describe('event batches', () => {
  it('send the first delta and everything that is no delta at once', () => {
    batches.push(7, prefill);
    batches.push(7, delta('A'));
    batches.push(7, endOf('A'));
    expect(sent).toEqual([
      [{ id: 7, events: [prefill] }],
      [{ id: 7, events: [delta('A')] }],
      [{ id: 7, events: [endOf('A')] }],
    ]);
  });

  it('join the deltas of one sample that follow quickly, and send them soon', () => {
    for (const text of ['A', 'bb', 'ccc', 'd']) batches.push(1, delta(text));
    expect(sent).toHaveLength(1);
    vi.advanceTimersByTime(20);
    expect(sent.slice(1)).toEqual([
      [
        {
          id: 1,
          events: [{ type: 'text-delta', index: 0, text: 'bbcccd', tokenIds: [2, 3, 1], logprobs: [-2, -3, -1] }],
        },
      ],
    ]);
    vi.advanceTimersByTime(1000);
    expect(sent).toHaveLength(2);
  });

  it('never make a model wait that is slower than the window', () => {
    for (const text of ['A', 'b', 'c']) {
      batches.push(1, delta(text));
      vi.advanceTimersByTime(50);
    }
    expect(sent.map(([batch]) => batch!.events)).toEqual([[delta('A')], [delta('b')], [delta('c')]]);
  });

  it('keep samples and captions apart', () => {
    batches.push(1, delta('A', 0));
    batches.push(2, delta('B', 0));
    batches.push(1, delta('x', 1));
    batches.push(2, delta('y', 0));
    batches.push(1, delta('z', 0));
    batches.push(1, delta('X', 1));
    vi.advanceTimersByTime(20);
    const joined = (text: string, index: number): object => expect.objectContaining({ text, index }) as object;
    expect(sent.slice(2)).toEqual([
      [
        { id: 1, events: [joined('xX', 1), joined('z', 0)] },
        { id: 2, events: [joined('y', 0)] },
      ],
    ]);
  });

  it('keep what was held before the ending, and begin anew with the next caption', () => {
    batches.push(1, delta('A'));
    batches.push(1, delta('b'));
    batches.push(2, delta('B'));
    batches.push(1, delta('c'));
    batches.push(1, endOf('Abc'));
    expect(
      sent
        .flat()
        .filter(({ id }) => id === 1)
        .flatMap(({ events }) => events),
    ).toEqual([delta('A'), delta('b'), delta('c'), endOf('Abc')]);
    batches.push(1, delta('again'));
    expect(sent.at(-1)).toEqual([{ id: 1, events: [delta('again')] }]);
  });

  it('carry the alternatives of every token', () => {
    const told = (id: number): TextDelta => ({ ...delta('t'), tokens: [{ id, logprob: -1, bytes: [id], top: [] }] });
    for (const id of [1, 2, 3]) batches.push(1, told(id));
    vi.advanceTimersByTime(20);
    expect((sent.at(-1)![0]!.events[0] as TextDelta).tokens?.map(({ id }) => id)).toEqual([2, 3]);
  });

  it('do not change the events they were given', () => {
    const given = [delta('A'), delta('b'), delta('c')];
    for (const event of given) batches.push(1, event);
    vi.advanceTimersByTime(20);
    expect(given).toEqual([delta('A'), delta('b'), delta('c')]);
  });
});
