import { setImmediate as settled } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { PlanningTurns } from '../../../src/admission/planning.ts';

const LIMITS = { places: 1, overtimePlaces: 1, overtimeMs: 60_000 };

/** Starts work of a sender, which says when it begins and ends when told. */
function ask(turns: PlanningTurns, began: string[], sender: string | undefined, name: string, signal?: AbortSignal) {
  let end: () => void = () => undefined;
  const work = (): Promise<void> => {
    began.push(name);
    return new Promise((resolve) => (end = resolve));
  };
  const ended = turns.run(sender, work, signal ?? new AbortController().signal);
  ended.catch(() => undefined);
  return {
    ended,
    end: () => {
      end();
    },
  };
}

test('files of one sender wait for each other, and never for those of another', async () => {
  const turns = new PlanningTurns(LIMITS);
  const began: string[] = [];
  const flood = ['a1', 'a2', 'a3'].map((name) => ask(turns, began, 'a', name));
  const other = ask(turns, began, 'b', 'b1');
  const unknown = ['x', 'y'].map((name) => ask(turns, began, undefined, name));
  await settled();
  expect(began.toSorted()).toEqual(['a1', 'b1', 'x', 'y']);
  flood[0]?.end();
  await settled();
  expect(began.at(-1)).toBe('a2');
  for (const one of [...unknown, other, flood[1]]) one?.end();
  await settled();
  flood[2]?.end();
  await Promise.all(flood.map(({ ended }) => ended));
  expect(turns.senders).toBe(0);
});

test('one that is cancelled while it waits goes at once, and work that fails gives its turn on', async () => {
  const turns = new PlanningTurns(LIMITS);
  const began: string[] = [];
  const cancel = new AbortController();
  const first = turns.run('a', () => Promise.reject(new Error('no such file')), new AbortController().signal);
  const second = ask(turns, began, 'a', 'second');
  const third = ask(turns, began, 'a', 'third', cancel.signal);
  await expect(first).rejects.toThrow('no such file');
  cancel.abort();
  await expect(third.ended).rejects.toMatchObject({ code: 'aborted' });
  await settled();
  expect(began).toEqual(['second']);
  second.end();
  await second.ended;
  expect(turns.senders).toBe(0);
});
