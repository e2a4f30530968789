// Multipart forms over real sockets, up to the media source: what they store on disk, and that it is deleted again.
import { createHash, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { connect, type AddressInfo } from 'node:net';
import multipart from '@fastify/multipart';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { AvocadoError, ERRORS } from '../../src/base/errors.ts';
import type { IntakeConfig } from '../../src/intake/intake.ts';
import type { StorageConfig } from '../../src/storage/temporary-storage.ts';
import { InFlightResponses } from '../../src/server/request-context.ts';
import { receiveUpload, type Upload } from '../../src/server/wire/bodies.ts';
import { openedIntake, openSource, type OpenedIntake } from '../fixtures/opened-intake.ts';
import { form } from '../fixtures/served-app.ts';

let app: FastifyInstance;
let intake: OpenedIntake;
let port: number;
const uploads: Upload[] = [];

async function start(settings: Partial<IntakeConfig & StorageConfig> = {}): Promise<void> {
  const config = { maxUploadBytes: 1_000_000, ...settings };
  intake = await openedIntake(config);
  app = Fastify({ forceCloseConnections: true });
  new InFlightResponses().track(app);
  await app.register(multipart, { throwFileSizeLimit: false });
  app.setErrorHandler((error, _request, reply) => {
    if (!(error instanceof AvocadoError)) throw error;
    return reply.code(ERRORS[error.code].status).send({ code: error.code, param: error.param });
  });
  app.post('/', async (request) => {
    uploads.push(await receiveUpload(request, { intake, config }));
    return {};
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  port = (app.server.address() as AddressInfo).port;
}

afterEach(async () => {
  for (const { source } of uploads.splice(0)) await source.release();
  expect({ files: await intake.files(), use: intake.use() }).toMatchObject({
    files: [],
    use: { usedBytes: 0, files: 0 },
  });
  await app.close();
  await intake.close();
});

async function post(body: FormData): Promise<{ status: number; code?: string; param?: string }> {
  const response = await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body });
  return { status: response.status, ...((await response.json()) as object) };
}

describe('an upload', () => {
  it('is hashed on its way to disk and keeps the name from the client', async () => {
    await start();
    const bytes = Uint8Array.from(randomBytes(500_000));
    expect(await post(form(bytes, { prompt: 'What?', stop: 'x' }, 'Ferien am Meer.mp4'))).toEqual({ status: 200 });
    const { source, fields } = uploads[0]!;
    expect([source.kind, source.displayName, fields]).toEqual([
      'upload',
      'Ferien am Meer.mp4',
      [
        ['prompt', 'What?'],
        ['stop', 'x'],
      ],
    ]);
    const { path, contentHash } = await openSource(source);
    expect((await readFile(path)).equals(bytes)).toBe(true);
    expect(contentHash).toBe(createHash('sha256').update(bytes).digest('hex'));
    expect(intake.use()).toMatchObject({ usedBytes: 500_000, files: 1 });
  });

  it('that exceeds the disk quota is refused until another file is released', async () => {
    await start({ maxTemporaryBytes: 1_000_000, maxUploadBytes: 2_000_000 });
    expect(await post(form('x'.repeat(600_000)))).toEqual({ status: 200 });
    expect(await post(form('x'.repeat(600_000)))).toEqual({ status: 503, code: 'storage_full' });
    expect(await intake.files()).toHaveLength(1);
    expect(intake.use()).toEqual({ usedBytes: 600_000, limitBytes: 1_000_000, files: 1 });
    await uploads[0]!.source.release();
    expect(await post(form('x'.repeat(1_000_001)))).toEqual({ status: 413, code: 'media_too_large' });
    expect(await post(form('x'.repeat(600_000)))).toEqual({ status: 200 });
  });

  it('above the size limit leaves nothing, with or without an announced length', async () => {
    await start({ maxUploadBytes: 1000 });
    expect(await post(form('x'.repeat(1001)))).toEqual({ status: 413, code: 'media_too_large', param: 'file' });
    expect(await post(form('x'.repeat(3_000_000)))).toEqual({ status: 413, code: 'media_too_large', param: 'file' });
    expect(await post(form('x'.repeat(1000)))).toEqual({ status: 200 });
  });

  it('with a second file or a wrong field after it leaves nothing', async () => {
    await start();
    const twice = form('first');
    twice.append('file', new Blob(['second']), 'b.mp4');
    expect(await post(twice)).toEqual({ status: 400, code: 'bad_request', param: 'file' });
    const wrong = form('first');
    wrong.append('video', new Blob(['second']), 'b.mp4');
    expect(await post(wrong)).toEqual({ status: 400, code: 'unknown_field', param: 'video' });
    expect(uploads).toEqual([]);
  });

  it('leaves nothing when clients disconnect at random moments', async () => {
    await start();
    const head =
      'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000000\r\n\r\n';
    const file = `--b\r\ncontent-disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n${'x'.repeat(300_000)}`;
    await Promise.all(
      Array.from({ length: 60 }, async (_, index) => {
        const socket = connect(port, '127.0.0.1');
        socket.on('error', () => undefined);
        socket.resume();
        await new Promise((resolve) => socket.once('connect', resolve));
        socket.write(head + file.slice(0, index * 4000), () => {
          setTimeout(() => {
            socket.destroy();
          }, index % 7);
        });
        await new Promise((resolve) => socket.once('close', resolve));
      }),
    );
    await vi.waitFor(async () => {
      expect({ files: await intake.files(), used: intake.use().usedBytes }).toEqual({ files: [], used: 0 });
    }, 20_000);
    expect(await post(form('still here'))).toEqual({ status: 200 });
  });
});
