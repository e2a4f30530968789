import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import {
  openTemporaryStorage,
  type StoredFile,
  type TemporaryStorage,
} from '../../../src/storage/temporary-storage.ts';

const TOO_LARGE = new AvocadoError('media_too_large', 'Too large.');

let parent: string;
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'avocado-test-'));
});
afterEach(async () => {
  await rm(parent, { recursive: true, force: true });
});

function openStorage(limitBytes = 1000): Promise<TemporaryStorage> {
  return openTemporaryStorage({ temporaryDirectory: parent, maxTemporaryBytes: limitBytes });
}

function save(
  into: TemporaryStorage,
  chunks: AsyncIterable<Uint8Array>,
  maxBytes = 1000,
  signal?: AbortSignal,
  name = 'a.mp4',
): Promise<StoredFile> {
  return into.save(chunks, { name, maxBytes, tooLarge: () => TOO_LARGE, signal });
}

const bytes = (...sizes: number[]): Readable => Readable.from(sizes.map((size) => Buffer.alloc(size, 7)));

async function nothingIsLeft(of: TemporaryStorage): Promise<void> {
  expect(of.use()).toMatchObject({ usedBytes: 0, files: 0 });
  const [directory] = await readdir(parent);
  expect(await readdir(join(parent, directory!))).toEqual([]);
}

describe('the temporary directory', () => {
  it('is made anew when a cleaner has removed it, by all that miss it together', async () => {
    const storage = await openStorage();
    await save(storage, bytes(1));
    await rm(parent, { recursive: true });
    const files = await Promise.all([save(storage, bytes(1)), save(storage, bytes(1)), storage.link('/dev/null', 'a')]);
    expect(await readdir(parent)).toHaveLength(1);
    for (const { path } of files) expect(await stat(path)).toBeDefined();
    await rm(parent, { recursive: true });
    expect(await storage.isReady()).toBe(true);
    await storage.close();
    expect(await readdir(parent)).toEqual([]);
  });

  it('takes it when a file cannot be deleted, as on a disk that is read-only by now', async () => {
    const storage = await openStorage();
    const { path, remove } = await save(storage, bytes(5));
    await rm(path);
    await mkdir(path);
    await remove();
    expect(storage.use()).toMatchObject({ usedBytes: 0, files: 0 });
    await storage.close();
    expect(await readdir(parent)).toEqual([]);
  });

  it('that cannot be made anew makes the storage unready, and the error names no path', async () => {
    const storage = await openStorage();
    await rm(parent, { recursive: true });
    await writeFile(parent, 'in the way');
    expect(await storage.isReady()).toBe(false);
    const failed = await save(storage, bytes(1)).catch((error: unknown) => error as AvocadoError);
    expect(failed).toMatchObject({ code: 'storage_full', message: expect.not.stringContaining(parent) as string });
    expect(storage.use()).toMatchObject({ usedBytes: 0, files: 0 });
    await storage.close();
  });

  it('that cannot be made at the start is reported in a sentence', async () => {
    await writeFile(join(parent, 'file'), '');
    for (const temporaryDirectory of [join(parent, 'file'), join(parent, 'nothing'), '/proc'])
      await expect(openTemporaryStorage({ temporaryDirectory, maxTemporaryBytes: 1 })).rejects.toThrow(
        /cannot be written to \(E[A-Z]+\)\. Set TMPDIR/,
      );
  });

  it('is readable by this user only, and close() deletes it with its files', async () => {
    const storage = await openStorage();
    const { path } = await save(storage, bytes(1));
    expect((await stat(dirname(path))).mode & 0o777).toBe(0o700);
    await storage.close();
    expect(await readdir(parent)).toEqual([]);
  });

  it('names files at random, keeping only a harmless extension of the name from the client', async () => {
    const storage = await openStorage();
    const paths: string[] = [];
    for (const name of ['a.mp4', '../../etc/passwd', 'a.mp4/../../b', 'x.m p4', '', '.hidden', 'a.mp4'])
      paths.push((await save(storage, bytes(1), 1000, undefined, name)).path);
    expect(paths.map((path) => basename(path).replace(/^[0-9a-f-]{36}/, 'ID'))).toEqual([
      'ID.mp4',
      'ID',
      'ID',
      'ID',
      'ID',
      'ID',
      'ID.mp4',
    ]);
    expect(new Set(paths.map((path) => dirname(path))).size).toBe(1);
    expect(new Set(paths).size).toBe(paths.length);
    await storage.close();
  });
});

describe('save', () => {
  it('writes every byte in order, for this user only, with the SHA-256', async () => {
    const into = await openStorage(10_000_000);
    const content = randomBytes(3_000_000);
    const chunks = Readable.from([content.subarray(0, 1), content.subarray(1, 2_000_000), content.subarray(2_000_000)]);
    const { path, contentHash, remove } = await save(into, chunks, 3_000_000);
    expect((await readFile(path)).equals(content)).toBe(true);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(contentHash).toBe(createHash('sha256').update(content).digest('hex'));
    expect(into.use()).toEqual({ usedBytes: 3_000_000, limitBytes: 10_000_000, files: 1 });
    await remove();
    await remove();
    await nothingIsLeft(into);
  });

  it('accepts a file of exactly the limits, but not one byte more', async () => {
    const into = await openStorage();
    const file = await save(into, bytes(600, 400));
    await file.remove();
    await expect(save(into, bytes(600, 401))).rejects.toBe(TOO_LARGE);
    await expect(save(into, bytes(600, 401), 2000)).rejects.toMatchObject({
      code: 'media_too_large',
      message: expect.stringMatching(/1000 bytes.*--max-temp-bytes/) as string,
    });
    await nothingIsLeft(into);
  });

  it('counts all files together, those still being written included', async () => {
    const into = await openStorage();
    let finish = (): void => undefined;
    const finished = new Promise<void>((resolve) => {
      finish = resolve;
    });
    let begun = (): void => undefined;
    const begins = new Promise<void>((resolve) => {
      begun = resolve;
    });
    async function* slow(): AsyncGenerator<Buffer> {
      yield Buffer.alloc(700);
      begun();
      await finished;
      yield Buffer.alloc(100);
    }
    const first = save(into, slow());
    await begins;
    await expect(save(into, bytes(301))).rejects.toMatchObject({ code: 'storage_full' });
    const second = await save(into, bytes(200));
    finish();
    const firstFile = await first;
    expect(into.use()).toEqual({ usedBytes: 1000, limitBytes: 1000, files: 2 });
    await firstFile.remove();
    await second.remove();
    await nothingIsLeft(into);
  });

  it.each([
    ['ENOSPC', 'storage_full'],
    ['EDQUOT', 'storage_full'],
    ['EIO', 'EIO'],
  ])('leaves nothing when writing fails with %s', async (code, expected) => {
    const into = await openStorage();
    async function* failing(): AsyncGenerator<Buffer> {
      yield Buffer.alloc(10);
      throw Object.assign(new Error('no'), { code });
    }
    await expect(save(into, failing())).rejects.toMatchObject({ code: expected });
    await nothingIsLeft(into);
  });

  it('leaves nothing when it is aborted, before the first byte or later', async () => {
    const into = await openStorage();
    await expect(save(into, bytes(1), 1000, AbortSignal.abort())).rejects.toMatchObject({ name: 'AbortError' });
    const controller = new AbortController();
    async function* endless(): AsyncGenerator<Buffer> {
      for (let count = 0; ; count++) {
        if (count === 3) controller.abort();
        yield Buffer.alloc(1);
        await new Promise(setImmediate);
      }
    }
    await expect(save(into, endless(), 1000, controller.signal)).rejects.toMatchObject({ name: 'AbortError' });
    await nothingIsLeft(into);
  });

  it('leaves nothing after a random run of saves, aborts and removals', async () => {
    const into = await openStorage(5000);
    const run = async (index: number): Promise<void> => {
      const random = randomBytes(4);
      const controller = new AbortController();
      if (random[0]! % 3 === 0)
        setTimeout(() => {
          controller.abort();
        }, random[1]! % 5);
      const file = await save(into, bytes(...random), 700, controller.signal).catch(() => undefined);
      if (index % 2 === 0) await new Promise(setImmediate);
      await file?.remove();
    };
    await Promise.all(Array.from({ length: 200 }, (_, index) => run(index)));
    await nothingIsLeft(into);
  });
});
