import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { contentHash } from '../../../src/base/file-memo.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();

describe('contentHash', () => {
  it.each([0, 1, 128 * 1024, 1_000_003])('is the SHA-256 of a file of %i bytes', async (length) => {
    const bytes = Buffer.alloc(length, 'avocado');
    const path = scratch(`file of ${length}`);
    writeFileSync(path, bytes);
    expect(await contentHash(path)).toBe(createHash('sha256').update(bytes).digest('hex'));
  });

  it('fails where there is no file, and stops when cancelled', async () => {
    await expect(contentHash(scratch('none'))).rejects.toMatchObject({ code: 'ENOENT' });
    const path = scratch('some');
    writeFileSync(path, 'x');
    await expect(contentHash(path, AbortSignal.abort())).rejects.toMatchObject({ name: 'AbortError' });
  });
});
