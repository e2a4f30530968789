// What a client sees of captions of segments that a text model merges.
import { expect, it } from 'vitest';
import type { TextModel } from '../../src/captioner/merge.ts';
import { mergingCaptioner } from '../../src/captioner/merging-captioner.ts';
import { fakeCaptioner } from '../fixtures/fake-captioner.ts';
import { form, parseEvents } from '../fixtures/served-app.ts';
import { servedPerTest } from '../fixtures/served-per-test.ts';

const serve = servedPerTest();

async function post(url: string, body: FormData): Promise<Response> {
  return fetch(`${url}/v1/captions`, { method: 'POST', body });
}

it('answers one text out of segments, at the end of a stream too, and the timeline to chat clients', async () => {
  const segments = [
    { start: 0, end: 44 },
    { start: 44, end: 90 },
  ];
  const texts = ['[]', '[{"from": 1, "to": 2, "text": "One ball."}]'];
  let asked = 0;
  const model: TextModel = {
    model: 'text-1',
    chat: async () => ({ text: texts[asked++ % 2] ?? '', model: 'text-1', finishReason: 'stop', usage: undefined }),
  };
  const captioner = fakeCaptioner({ words: ['A ball.'], segments });
  const { url } = await serve(mergingCaptioner(captioner, { model, timeoutMs: 60_000 }));
  const whole = { caption: '[00:00:00.000 – 00:01:30.000]\nOne ball.', merge: { status: 'merged', model: 'text-1' } };
  expect(await (await post(url, form('x', { segments: 'auto' }))).json()).toMatchObject(whole);
  const stream = parseEvents(await (await post(url, form('x', { segments: 'auto', stream: 'true' }))).text());
  expect(stream.events.at(-1)).toMatchObject({ event: 'caption-end', data: whole });
  expect(stream.events).toContainEqual(
    expect.objectContaining({ event: 'stage', data: expect.objectContaining({ stage: 'merge', done: 2 }) as object }),
  );
  const off = (await (await post(url, form('x', { segments: 'auto', merge: 'false' }))).json()) as object;
  expect(off).not.toHaveProperty('merge');
  const content = [{ type: 'video_url', video_url: { url: 'data:video/mp4;base64,AAAA' } }];
  const chat = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ messages: [{ role: 'user', content }], segments: 60 }),
  });
  expect(await chat.json()).toMatchObject({
    choices: [{ message: { content: expect.stringContaining('00:44') as string } }],
  });
  expect(asked).toBe(4);
});
