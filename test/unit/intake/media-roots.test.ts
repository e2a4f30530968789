import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { extname } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HeldFiles, rootSource } from '../../../src/intake/media-roots.ts';
import type { MediaSource } from '../../../src/intake/media-source.ts';
import { openTemporaryStorage, type TemporaryStorage } from '../../../src/storage/temporary-storage.ts';
import { openSource } from '../../fixtures/opened-intake.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();
let root: string;
let storage: TemporaryStorage;
let held: HeldFiles;
beforeAll(async () => {
  mkdirSync(scratch('temporary'));
  storage = await openTemporaryStorage({ temporaryDirectory: scratch('temporary'), maxTemporaryBytes: 1000 });
  held = new HeldFiles(storage);
  mkdirSync(scratch('films'));
  root = realpathSync(scratch('films'));
  writeFileSync(scratch('films/a b.mp4'), 'x');
  writeFileSync(scratch('outside.mp4'), 'x');
});

afterAll(async () => {
  const [directory] = readdirSync(scratch('temporary'));
  expect(readdirSync(scratch(`temporary/${directory!}`))).toEqual([]);
  await storage.close();
});

const source = (reference: string): MediaSource =>
  rootSource(reference, 'messages.0.content', new Map([['films', root]]), held);

describe('a media root', () => {
  it('opens a file once, displays the reference, and never deletes the file', async () => {
    const film = source('media://films/a%20b.mp4');
    expect([film.kind, film.displayName]).toEqual(['root', 'media://films/a%20b.mp4']);
    await film.release();
    const { path, contentHash } = await openSource(film);
    expect([readFileSync(path, 'utf8'), extname(path), contentHash]).toEqual(['x', '.mp4', undefined]);
    await film.release();
    await film.release();
    expect([existsSync(path), existsSync(`${root}/a b.mp4`)]).toEqual([false, true]);
  });

  it('gives the file that was checked, whatever its path leads to later', async () => {
    writeFileSync(scratch('films/swapped.mp4'), 'inside');
    const film = source('media://films/swapped.mp4');
    const { path } = await openSource(film);
    unlinkSync(scratch('films/swapped.mp4'));
    symlinkSync(scratch('outside.mp4'), scratch('films/swapped.mp4'));
    expect(readFileSync(path, 'utf8')).toBe('inside');
    await film.release();
    await expect(openSource(source('media://films/swapped.mp4'))).rejects.toMatchObject({
      code: 'media_forbidden_path',
    });
  });

  it('gives the same file the same name, so that what is known of it is found again', async () => {
    const films = Array.from({ length: 3 }, () => source('media://films/a%20b.mp4'));
    const paths: string[] = [];
    for (let round = 0; round < 2; round += 1) {
      paths.push(...(await Promise.all(films.map((film) => openSource(film)))).map(({ path }) => path));
      await films[0]!.release();
      expect(readFileSync(paths[0]!, 'utf8')).toBe('x');
      const releases = films.map((film) => film.release());
      films.splice(0, 3, ...films.map(() => source('media://films/a%20b.mp4')));
      await openSource(films[0]!); // amid the removal
      await Promise.all(releases);
      expect(readFileSync(paths[0]!, 'utf8')).toBe('x');
    }
    expect(new Set(paths).size).toBe(1);
    await Promise.all(films.map((film) => film.release()));
  });

  it('does not wait for what is no file', async () => {
    mkdirSync(scratch('films/folder.mp4'));
    execFileSync('mkfifo', [scratch('films/pipe.mp4')]);
    for (const name of ['folder.mp4', 'pipe.mp4'])
      await expect(openSource(source(`media://films/${name}`))).rejects.toMatchObject({ code: 'media_not_a_file' });
  });

  it.each([
    ['media://films', 'bad_request'],
    ['media://films/%', 'bad_request'],
    ['media://other/a.mp4', 'media_forbidden_path'],
    ['media://films/../outside.mp4', 'media_forbidden_path'],
    ['media://films/%2e%2e%2foutside.mp4', 'media_forbidden_path'],
    ['media://films/a\n/../../outside.mp4', 'media_forbidden_path'],
    ['media://films//etc/hostname', 'media_forbidden_path'],
  ])('refuses %j without reading the disk', (reference, code) => {
    expect(() => source(reference)).toThrow(expect.objectContaining({ code, param: 'messages.0.content' }) as Error);
  });

  it('resolves symlinks when the file is opened', async () => {
    const link = source('media://films/link.mp4');
    await expect(openSource(link)).rejects.toMatchObject({ code: 'media_not_found', param: 'messages.0.content' });
    symlinkSync(scratch('outside.mp4'), scratch('films/link.mp4'));
    await expect(openSource(link)).rejects.toMatchObject({ code: 'media_forbidden_path', param: 'messages.0.content' });
    unlinkSync(scratch('films/link.mp4'));
    symlinkSync('a b.mp4', scratch('films/link.mp4'));
    expect(readFileSync((await openSource(link)).path, 'utf8')).toBe('x');
    await link.release();
  });
});
