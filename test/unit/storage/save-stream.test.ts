import { createHash, randomBytes } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import { saveStream, type SavedFile, type TemporarySpace } from '../../../src/storage/save-stream.ts';
import { SpaceAccount } from '../../../src/storage/disk-quota.ts';
import { openTemporaryDirectory, type TemporaryDirectory } from '../../../src/storage/temporary-directory.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();
let directory: TemporaryDirectory;
beforeAll(async () => {
  directory = await openTemporaryDirectory(scratch(''));
});
afterAll(() => directory.close());

const TOO_LARGE = new AvocadoError('media_too_large', 'Too large.');

function space(limitBytes: number): TemporarySpace {
  return { directory, account: new SpaceAccount(limitBytes) };
}

function save(
  into: TemporarySpace,
  chunks: AsyncIterable<Uint8Array>,
  maxBytes = 1000,
  signal?: AbortSignal,
): Promise<SavedFile> {
  return saveStream(into, chunks, { name: 'a.mp4', maxBytes, tooLarge: () => TOO_LARGE, signal });
}

const bytes = (...sizes: number[]): Readable => Readable.from(sizes.map((size) => Buffer.alloc(size, 7)));

async function nothingIsLeft(of: TemporarySpace): Promise<void> {
  expect(of.account.use()).toMatchObject({ usedBytes: 0, files: 0 });
  expect(await readdir(directory.path)).toEqual([]);
}

describe('saveStream', () => {
  it('writes every byte in order, for this user only, and knows their SHA-256', async () => {
    const into = space(10_000_000);
    const content = randomBytes(3_000_000);
    const chunks = Readable.from([content.subarray(0, 1), content.subarray(1, 2_000_000), content.subarray(2_000_000)]);
    const { path, contentHash, remove } = await save(into, chunks, 3_000_000);
    expect((await readFile(path)).equals(content)).toBe(true);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(contentHash).toBe(createHash('sha256').update(content).digest('hex'));
    expect(into.account.use()).toEqual({ usedBytes: 3_000_000, limitBytes: 10_000_000, files: 1 });
    await remove();
    await remove();
    await nothingIsLeft(into);
  });

  it('takes a file of exactly the limits and none of a byte more', async () => {
    const into = space(1000);
    const file = await save(into, bytes(600, 400));
    await file.remove();
    await expect(save(into, bytes(600, 401))).rejects.toBe(TOO_LARGE);
    await expect(save(into, bytes(600, 401), 2000)).rejects.toMatchObject({ code: 'storage_full' });
    await nothingIsLeft(into);
  });

  it('counts all files together, also those still being written', async () => {
    const into = space(1000);
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
    expect(into.account.use()).toEqual({ usedBytes: 1000, limitBytes: 1000, files: 2 });
    await firstFile.remove();
    await second.remove();
    await nothingIsLeft(into);
  });

  it.each([
    ['ENOSPC', 'storage_full'],
    ['EDQUOT', 'storage_full'],
    ['EIO', 'EIO'],
  ])('gives everything back when the disk says %s', async (code, expected) => {
    const into = space(1000);
    async function* failing(): AsyncGenerator<Buffer> {
      yield Buffer.alloc(10);
      throw Object.assign(new Error('no'), { code });
    }
    await expect(save(into, failing())).rejects.toMatchObject({ code: expected });
    await nothingIsLeft(into);
  });

  it('leaves nothing when it is aborted, before the first byte or later', async () => {
    const into = space(1000);
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

  it('has given everything back after a random run of files that come, fail and go', async () => {
    const into = space(5000);
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
