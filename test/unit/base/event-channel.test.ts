import { describe, expect, it, vi } from 'vitest';
import { EventChannel } from '../../../src/base/event-channel.ts';

async function all<T>(channel: EventChannel<T>): Promise<T[]> {
  const values: T[] = [];
  for await (const value of channel) values.push(value);
  return values;
}

describe('EventChannel', () => {
  it('gives values in order, whether they were pushed before or after they were asked for', async () => {
    const channel = new EventChannel<number>();
    channel.push(1);
    channel.push(2);
    const reading = all(channel);
    await Promise.resolve();
    channel.push(3);
    channel.close();
    channel.push(4);
    expect(await reading).toEqual([1, 2, 3]);
  });

  it('tells its writer when the reader leaves early, and keeps nothing after that', async () => {
    const onLeave = vi.fn();
    const channel = new EventChannel<number>(onLeave);
    channel.push(1);
    channel.push(2);
    for await (const value of channel) if (value === 1) break;
    expect(onLeave).toHaveBeenCalledOnce();
    channel.push(3);
    expect(await all(channel)).toEqual([]);
  });

  it('replaces a stale unread value, but never one that was read', async () => {
    const channel = new EventChannel<string>();
    channel.pushLatest('progress 1', (unread) => unread.startsWith('progress'));
    channel.pushLatest('progress 2', (unread) => unread.startsWith('progress'));
    expect(await channel.next()).toEqual({ done: false, value: 'progress 2' });
    channel.pushLatest('progress 3', (unread) => unread.startsWith('progress'));
    channel.push('text');
    channel.pushLatest('progress 4', (unread) => unread.startsWith('progress'));
    channel.close();
    expect(await all(channel)).toEqual(['progress 3', 'text', 'progress 4']);
  });

  it('peeks without reading: at a match, at the end, or when the time is over', async () => {
    const channel = new EventChannel<number>();
    const isEven = (value: number): boolean => value % 2 === 0;
    const peeking = channel.peek(isEven, 60_000);
    channel.push(1);
    channel.push(2);
    expect(await peeking).toBe(2);
    expect(await channel.peek((value) => value === 7, 1)).toBeUndefined();
    channel.close();
    expect(await channel.peek((value) => value === 7, 60_000)).toBeUndefined();
    expect(await all(channel)).toEqual([1, 2]);
  });
});
