import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readModelPackage, readSampleClips } from '../../../../src/model/checkpoint/model-package.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'avocado-package-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

describe('avocado.json', () => {
  const write = (value: unknown): void => {
    writeFileSync(join(directory, 'avocado.json'), typeof value === 'string' ? value : JSON.stringify(value));
  };

  it('is optional: the name then comes from the directory', async () => {
    expect(await readModelPackage(directory)).toEqual({ name: basename(directory) });
    const snapshot = join(directory, 'models--Org--Name-7B', 'snapshots', 'abc');
    mkdirSync(snapshot, { recursive: true });
    expect(await readModelPackage(snapshot)).toEqual({ name: 'Org/Name-7B' });
  });

  it('is read, and may leave out the name', async () => {
    write({ name: 'mine', maxTokens: 5 });
    expect(await readModelPackage(directory)).toEqual({ name: 'mine', maxTokens: 5 });
    write({ prompts: ['Describe.'] });
    expect(await readModelPackage(directory)).toEqual({ name: basename(directory), prompts: ['Describe.'] });
  });

  it.each<[unknown, string]>([
    ['{', 'is not JSON'],
    [{ maxTokens: 0 }, '/maxTokens'],
    [{ promts: [] }, 'avocado.json'],
    [[], 'avocado.json'],
  ])('%j is refused by name', async (value, words) => {
    write(value);
    await expect(readModelPackage(directory)).rejects.toMatchObject({
      code: 'checkpoint_invalid',
      message: expect.stringContaining(words) as string,
    });
  });
});

describe('Sample clips', () => {
  it('are those of examples/captions.json, in its order', async () => {
    mkdirSync(join(directory, 'examples'));
    const listed = { 'b.mp4': { kind: 'short', caption: 'A ball.' }, 'a.mp4': { kind: 'long', caption: 'Two.' } };
    writeFileSync(join(directory, 'examples', 'captions.json'), JSON.stringify(listed));
    expect(await readSampleClips(directory)).toEqual([
      { name: 'b.mp4', path: join(directory, 'examples', 'b.mp4'), kind: 'short', caption: 'A ball.' },
      { name: 'a.mp4', path: join(directory, 'examples', 'a.mp4'), kind: 'long', caption: 'Two.' },
    ]);
  });

  it('may be missing, but a file that cannot be read is an error', async () => {
    expect(await readSampleClips(directory)).toEqual([]);
    mkdirSync(join(directory, 'examples', 'captions.json'), { recursive: true });
    await expect(readSampleClips(directory)).rejects.toMatchObject({ code: 'checkpoint_invalid' });
  });
});
