import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { merge } from '../../../src/base/merge.ts';

async function* counted(name: string, count: number, waitMs = 0): AsyncGenerator<string> {
  for (let index = 0; index < count; index++) {
    await sleep(waitMs);
    yield `${name}${index}`;
  }
}

async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const value of values) all.push(value);
  return all;
}

describe('merge', () => {
  it('gives every value once, those of one source in their order', async () => {
    const all = await collect(merge([counted('a', 30, 1), counted('b', 10, 2), counted('c', 0)]));
    expect(all.filter((value) => value.startsWith('a'))).toEqual(await collect(counted('a', 30)));
    expect(all.filter((value) => value.startsWith('b'))).toEqual(await collect(counted('b', 10)));
    expect(all).toHaveLength(40);
  });

  it('lets nobody speak twice while another has something to say', async () => {
    const ready = async function* (name: string): AsyncGenerator<string> {
      for (let index = 0; index < 20; index++) yield name;
    };
    const all = await collect(merge([ready('a'), ready('b'), ready('c')]));
    for (const name of ['a', 'b', 'c'])
      expect(all.slice(0, 9).filter((value) => value === name).length).toBeGreaterThan(1);
  });

  it('does not wait for the slow ones', async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const slow = async function* (): AsyncGenerator<string> {
      await held;
      yield 'slow';
    };
    const merged = merge([slow(), counted('a', 2)]);
    expect([(await merged.next()).value, (await merged.next()).value]).toEqual(['a0', 'a1']);
    release();
    expect(await collect(merged)).toEqual(['slow']);
  });

  it('throws what the first one throws, and swallows what the others throw later', async () => {
    const failing = async function* (name: string, ms: number): AsyncGenerator<string> {
      await sleep(ms);
      yield name;
      throw new Error(name);
    };
    await expect(collect(merge([failing('first', 0), failing('second', 5), counted('a', 50, 1)]))).rejects.toThrow(
      'first',
    );
    await sleep(20); // an unhandled rejection would fail the run
  });
});
