import { describe, expect, it, vi } from 'vitest';
import { clipSender, serverEvents } from '../../../../src/lab/loadtest/caption-client.ts';

async function eventsOf(pieces: readonly Uint8Array[]): Promise<unknown[]> {
  const found: unknown[] = [];
  async function* body(): AsyncGenerator<Uint8Array> {
    yield* pieces;
  }
  for await (const event of serverEvents(body())) found.push(event);
  return found;
}

it('a refusal with a date is waited for until then, and one without for a second', async () => {
  const waits: unknown[] = [];
  const send = clipSender({ url: 'http://server', apiKey: undefined, fields: {} });
  for (const headers of [{ 'retry-after': new Date(Date.now() + 60_000).toUTCString() }, undefined]) {
    vi.stubGlobal('fetch', async () => new Response('{}', { status: 503, headers: headers ?? {} }));
    waits.push(await send({ name: 'a.mp4', bytes: new Uint8Array(1) }, undefined, new AbortController().signal));
    vi.unstubAllGlobals();
  }
  expect(waits).toEqual([
    { kind: 'refused', retryAfterSeconds: expect.closeTo(60, -1) as number },
    { kind: 'refused', retryAfterSeconds: 1 },
  ]);
});

it('a request that an interruption ends is no failure of the server', async () => {
  const send = clipSender({ url: 'http://127.0.0.1:9', apiKey: undefined, fields: {} });
  const clip = { name: 'a.mp4', bytes: new Uint8Array(1) };
  expect(await send(clip, undefined, AbortSignal.abort())).toEqual({ kind: 'disconnected' });
  expect(await send(clip, undefined, new AbortController().signal)).toEqual({ kind: 'failed', code: 'connection' });
});

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
