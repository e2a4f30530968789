import { mkdirSync, realpathSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { rootSource } from '../../../src/intake/media-roots.ts';
import type { MediaSource } from '../../../src/intake/media-source.ts';
import { openSource } from '../../fixtures/opened-intake.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();
let root: string;
beforeAll(() => {
  mkdirSync(scratch('films'));
  root = realpathSync(scratch('films'));
  writeFileSync(scratch('films/a b.mp4'), 'x');
  writeFileSync(scratch('outside.mp4'), 'x');
});

const source = (reference: string): MediaSource =>
  rootSource(reference, 'messages.0.content', new Map([['films', root]]));

describe('a media root', () => {
  it('gives the real path of a file, displays the reference, and never deletes the file', async () => {
    const film = source('media://films/a%20b.mp4');
    expect([film.kind, film.displayName]).toEqual(['root', 'media://films/a%20b.mp4']);
    await film.release();
    expect(await openSource(film)).toEqual({ path: `${root}/a b.mp4`, contentHash: undefined });
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
    expect(await openSource(link)).toMatchObject({ path: `${root}/a b.mp4` });
  });
});
