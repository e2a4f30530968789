import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, getGlobalDispatcher, setGlobalDispatcher } from 'undici';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { patientPost } from '../../../src/chat/patient-fetch.ts';

const before = getGlobalDispatcher();
const impatient = new Agent({ headersTimeout: 500, bodyTimeout: 500 });
let server: Server;
let url: string;

/** Says what it was sent, after 2.5 seconds. */
beforeEach(async () => {
  setGlobalDispatcher(impatient);
  server = createServer((request, response) => {
    void (async () => {
      let body = '';
      for await (const chunk of request) body += String(chunk);
      await sleep(2500);
      response.end(JSON.stringify({ type: request.headers['content-type'], key: request.headers['x-key'], body }));
    })();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
});

afterEach(async () => {
  setGlobalDispatcher(before);
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const post = async (body: string | FormData, signal = AbortSignal.timeout(60_000)): Promise<unknown> =>
  JSON.parse(await (await patientPost(url, { headers: { 'x-key': 'k' }, body, signal })).text());

it('waits for an answer longer than others do, until its signal aborts', async () => {
  const others = fetch(url, { method: 'POST', body: 'x' });
  others.catch(() => undefined);
  expect(await post('a question')).toMatchObject({ key: 'k', body: 'a question' });
  await expect(others).rejects.toThrow();
  const stopped = post('a question', AbortSignal.timeout(200));
  await expect(stopped).rejects.toMatchObject({ name: 'TimeoutError' });
});

it('sends a form whole', async () => {
  const form = new FormData();
  form.set('model', 'm');
  form.set('file', new Blob(['RIFF…'], { type: 'audio/wav' }), 'sound.wav');
  const { type, body } = (await post(form)) as { readonly type: string; readonly body: string };
  expect(type).toMatch(/^multipart\/form-data; boundary=/);
  expect(body).toContain('name="file"; filename="sound.wav"');
  expect(body).toContain('RIFF…');
});
