// The same bad files sent to one running server with the bundled model: each its own status,
// and the server captions on.
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Captioner } from '../../src/captioner/captioner.ts';
import { defaultModelDirectory } from '../../src/base/package-files.ts';
import { ERRORS } from '../../src/base/errors.ts';
import { openCaptioner } from '../../src/captioner/open-captioner.ts';
import { engineSettings } from '../../src/settings/engine-settings.ts';
import { decoderProcesses } from '../fixtures/child-processes.ts';
import { golden } from '../fixtures/golden.ts';
import { hostileMedia, startBait, writeTruncated, type Bait, type HostileMedia } from '../fixtures/hostile-media.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { form, serveApp, type ServedApp } from '../fixtures/served-app.ts';

const scratch = scratchDirectory();
let bait: Bait;
let captioner: Captioner;
let app: ServedApp;

beforeAll(async () => {
  bait = await startBait();
  captioner = await openCaptioner(
    engineSettings({
      modelDir: defaultModelDirectory(),
      threads: 1,
      slots: 2,
      prefixSlots: 0,
      mediaCacheBytes: 0,
    }),
  );
  app = await serveApp(captioner, { mediaRoots: [`bad=${scratch('')}`], maxQueueSeconds: 10_000 });
});
afterAll(async () => {
  await app.close();
  await captioner.close();
  await bait.close();
});

interface Answer {
  readonly status: number;
  readonly retry: string | null;
  readonly body: {
    readonly caption?: string;
    readonly media?: { readonly warnings: readonly string[] };
    readonly error?: { readonly code: string; readonly message: string; readonly type: string };
  };
}

async function answerOf(response: Response): Promise<Answer> {
  return {
    status: response.status,
    retry: response.headers.get('x-should-retry'),
    body: (await response.json()) as Answer['body'],
  };
}

async function upload(path: string, fields: Readonly<Record<string, string>> = {}): Promise<Answer> {
  const bytes = Uint8Array.from(await readFile(path));
  return answerOf(
    await fetch(`${app.url}/v1/captions`, { method: 'POST', body: form(bytes, fields, path.split('/').at(-1)) }),
  );
}

async function fromRoot(file: string): Promise<Answer> {
  const body = JSON.stringify({ media: `media://bad/${file}` });
  return answerOf(
    await fetch(`${app.url}/v1/captions`, { method: 'POST', body, headers: { 'content-type': 'application/json' } }),
  );
}

async function nothingIsLeft(): Promise<void> {
  const left = {
    uploads: await app.uploads(),
    decoders: decoderProcesses(),
    slots: captioner.stats().freeSlots,
    calls: bait.calls(),
  };
  expect(left).toEqual({ uploads: [], decoders: [], slots: 2, calls: 0 });
}

describe('a running server', () => {
  it('answers every bad file with its own status, code and sentence, all at once and both ways', async () => {
    const bad = hostileMedia(bait.url);
    await Promise.all(bad.map(({ file, make }) => make(scratch(file))));
    // What is no file cannot be uploaded; the rest comes both ways.
    const answersTo = async (media: HostileMedia): Promise<Answer[]> =>
      ['media_not_found', 'media_not_a_file'].includes(media.code)
        ? [await fromRoot(media.file)]
        : [await fromRoot(media.file), await upload(scratch(media.file))];
    const answered = await Promise.all(
      bad.map(async (media) => (await answersTo(media)).map((answer) => ({ ...media, ...answer }))),
    );
    for (const { title, code, says, status, retry, body } of answered.flat()) {
      expect({ title, status, retry, code: body.error?.code, type: body.error?.type }).toEqual({
        title,
        status: ERRORS[code].status,
        retry: String(ERRORS[code].retry),
        code,
        type: 'invalid_request_error',
      });
      expect(body.error!.message).toMatch(says);
      expect(body.error!.message).not.toContain(scratch(''));
    }
    await nothingIsLeft();
  });

  it('captions what is left of a truncated video, with a warning', async () => {
    await writeTruncated(scratch('truncated.mp4'));
    const { status, body } = await upload(scratch('truncated.mp4'), { max_tokens: '4' });
    expect(status).toBe(200);
    expect(body.media!.warnings).toContain('The file is cut short: 60 of 120 frames are there.');
    await nothingIsLeft();
  });

  it('is alive and well after all of it', async () => {
    expect((await fetch(`${app.url}/healthz`)).status).toBe(200);
    expect((await fetch(`${app.url}/readyz`)).status).toBe(200);
    const { status, body } = await upload(golden('clips/one-second.mp4'), { max_tokens: '4' });
    expect(status).toBe(200);
    expect(body.caption!.length).toBeGreaterThan(3);
    await nothingIsLeft();
  });
});
