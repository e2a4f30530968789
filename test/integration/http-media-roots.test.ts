import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fakeCaptioner } from '../fixtures/fake-captioner.ts';
import { serveApp, type ServedApp } from '../fixtures/served-app.ts';

const captioner = fakeCaptioner();
let directory: string;
let app: ServedApp;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'avocado-roots-'));
  const root = join(directory, 'library');
  await mkdir(join(root, 'deep er'), { recursive: true });
  await writeFile(join(root, 'a.mp4'), 'inside');
  await writeFile(join(root, 'deep er', '100%.mp4'), 'percent');
  await writeFile(join(directory, 'secret.mp4'), 'outside');
  await mkdir(join(directory, 'library-2'));
  await writeFile(join(directory, 'library-2', 'b.mp4'), 'neighbour');
  await symlink(join(directory, 'secret.mp4'), join(root, 'link.mp4'));
  await symlink(directory, join(root, 'up'));
  await symlink('a.mp4', join(root, 'within.mp4'));
  await symlink(root, join(directory, 'root-link'));
  app = await serveApp(captioner, { mediaRoots: [`films=${join(directory, 'root-link')}`] });
});

afterAll(async () => {
  await app.close();
  await rm(directory, { recursive: true, force: true });
});

async function ask(body: object): Promise<{ status: number; code?: string; param?: string; message?: string }> {
  const response = await fetch(`${app.url}/v1/captions`, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json' },
  });
  const { error } = (await response.json()) as { error?: { code: string; param: string; message: string } };
  return { status: response.status, ...error };
}

describe('media:// references', () => {
  it.each([
    ['media://films/a.mp4', 'inside'],
    ['media://films/deep%20er/100%25.mp4', 'percent'],
    ['media://films/within.mp4', 'inside'],
    ['media://films/./a.mp4', 'inside'],
  ])('%s is read from its root', async (media, bytes) => {
    expect(await ask({ media })).toEqual({ status: 200 });
    expect(captioner.seen.at(-1)!.bytes.toString()).toBe(bytes);
  });

  it.each([
    'media://films/../secret.mp4',
    'media://films/%2e%2e/secret.mp4',
    'media://films/..%2fsecret.mp4',
    'media://films/deep%20er/../../secret.mp4',
    'media://films/..%5csecret.mp4',
    'media://films/..%2flibrary-2%2fb.mp4',
    'media://films//etc/hostname',
    'media://films/%2fetc%2fhostname',
    'media://films/link.mp4',
    'media://films/up/secret.mp4',
    'media://films/up/library-2/b.mp4',
    'media://films/a.mp4%00.png',
    'media://other/a.mp4',
  ])('%s is forbidden', async (media) => {
    const before = captioner.seen.length;
    expect(await ask({ media })).toMatchObject({ status: 403, code: 'media_forbidden_path', param: 'media' });
    expect(captioner.seen).toHaveLength(before);
  });

  it.each(['media://films/none.mp4', 'media://films/a.mp4/x', 'media://films/%252e%252e/secret.mp4'])(
    '%s is not there',
    async (media) => {
      expect(await ask({ media })).toMatchObject({ status: 404, code: 'media_not_found' });
    },
  );

  it.each([
    '/etc/hostname',
    'file:///etc/hostname',
    'ftp://127.0.0.1/a.mp4',
    'media://films',
    'media:///a.mp4',
    'media://films/%zz',
    '',
  ])('%j is no reference', async (media) => {
    expect(await ask({ media })).toMatchObject({ status: 400, code: 'bad_request', param: 'media' });
  });

  it('takes the same options as a form, checked by type', async () => {
    expect(await ask({ media: 'media://films/a.mp4', max_tokens: 5, stop: ['x'], audio: false, nframes: 4 })).toEqual({
      status: 200,
    });
    expect(captioner.seen.at(-1)!.request).toMatchObject({
      maxTokens: 5,
      stop: ['x'],
      useAudio: false,
      profile: { nframes: 4 },
    });
    expect(await ask({ media: 'media://films/a.mp4', max_tokens: '5' })).toMatchObject({
      status: 400,
      code: 'bad_request',
      param: 'max_tokens',
    });
    expect(await ask({ media: 'media://films/a.mp4', m: 2 })).toMatchObject({
      status: 400,
      code: 'unknown_field',
      param: 'm',
    });
    expect(await ask({ max_tokens: 5 })).toMatchObject({ status: 400, code: 'bad_request', param: 'media' });
    expect(await ask({ media: 7 })).toMatchObject({ status: 400, code: 'bad_request', param: 'media' });
  });
});
