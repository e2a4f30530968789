import { describe, expect, it } from 'vitest';
import { serverEvents } from '../../../../src/lab/loadtest/caption-client.ts';

async function eventsOf(pieces: readonly Uint8Array[]): Promise<unknown[]> {
  const found: unknown[] = [];
  async function* body(): AsyncGenerator<Uint8Array> {
    yield* pieces;
  }
  for await (const event of serverEvents(body())) found.push(event);
  return found;
}

describe('serverEvents', () => {
  const text = ': ping\n\nid: 1\nevent: stage\ndata: {"a":1}\n\ndata: Müße 🎈\n\ndata: one\ndata: two\n\nevent: lost';
  const expected = [
    { event: 'stage', data: '{"a":1}' },
    { event: 'message', data: 'Müße 🎈' },
    { event: 'message', data: 'one\ntwo' },
  ];

  it('finds the same events for any split of the bytes', async () => {
    const bytes = new TextEncoder().encode(text);
    expect(await eventsOf([bytes])).toEqual(expected);
    expect(await eventsOf([...bytes].map((byte) => Uint8Array.of(byte)))).toEqual(expected);
  });
});
