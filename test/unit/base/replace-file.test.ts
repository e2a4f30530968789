import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { replaceFile } from '../../../src/base/replace-file.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();

describe('A file that is replaced', () => {
  it('is whole when several write it at the same time', async () => {
    const path = join(scratch(''), 'report');
    const texts = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(200_000));
    await Promise.all(texts.map((text) => replaceFile(path, [text])));
    expect(texts).toContain(readFileSync(path, 'utf8'));
    expect(readdirSync(scratch(''))).toEqual(['report']);
  });

  it('leaves nothing where it cannot be written', async () => {
    const directory = scratch('other');
    mkdirSync(join(directory, 'report'), { recursive: true });
    await expect(replaceFile(join(directory, 'report'), ['text'])).rejects.toMatchObject({ code: 'EISDIR' });
    expect(readdirSync(directory)).toEqual(['report']);
  });
});
