import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readModelPackage, readSampleClips } from '../../../../src/model/checkpoint/model-package.ts';
import { AVOCADO_PROMPTS, defaultsOf } from '../../../../src/settings/presets.ts';

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
    const { profile, ...defaults } = defaultsOf('avocado');
    expect(profile).toBeUndefined();
    expect(await readModelPackage(directory)).toEqual({ ...defaults, name: basename(directory), preset: 'avocado' });
    const snapshot = join(directory, 'models--Org--Name-7B', 'snapshots', 'abc');
    mkdirSync(snapshot, { recursive: true });
    expect(await readModelPackage(snapshot)).toMatchObject({ name: 'Org/Name-7B' });
  });

  it('is read, and may leave out the name', async () => {
    write({ name: 'mine', maxTokens: 5 });
    expect(await readModelPackage(directory)).toMatchObject({ name: 'mine', maxTokens: 5, prompts: AVOCADO_PROMPTS });
    write({ prompts: ['Describe.'] });
    expect(await readModelPackage(directory)).toMatchObject({ name: basename(directory), prompts: ['Describe.'] });
  });

  it.each<[unknown, string]>([
    ['{', 'is not JSON'],
    [{ maxTokens: 0 }, '/maxTokens'],
    [{ promts: [] }, 'avocado.json'],
    [{ preset: 'gpt' }, '/preset'],
    [[], 'avocado.json'],
  ])('%j is refused by name', async (value, words) => {
    write(value);
    await expect(readModelPackage(directory)).rejects.toMatchObject({
      code: 'checkpoint_invalid',
      message: expect.stringContaining(words) as string,
    });
  });
});

describe('the preset of a model', () => {
  const snapshotOf = (name: string): string => {
    const path = join(directory, `models--${name.replace('/', '--')}`, 'snapshots', 'abc');
    mkdirSync(path, { recursive: true });
    return path;
  };
  const put = (file: string, text: string): void => {
    writeFileSync(join(directory, file), text);
  };

  it('is told by the name of its directory in the hub cache', async () => {
    expect(await readModelPackage(snapshotOf('yaolily/TimeChat-Captioner-GRPO-7B'))).toMatchObject({
      name: 'yaolily/TimeChat-Captioner-GRPO-7B',
      preset: 'timechat',
      systemPrompt: null,
      maxTokens: 8192,
      profile: { name: 'timechat', maxFrames: 160, maxPixels: 297_920 },
    });
  });

  it.each([
    ['config.json', '{"_name_or_path": "AudioVisual-Caption/ASID-Captioner-3B"}', 'asid'],
    ['README.md', '---\nlicense: mit\nmodel_name: DiaDem\n---\n# A model\n', 'diadem'],
    ['README.md', '---\nlicense: mit\n---\n\n# <img src="x.png"> UGC-VideoCaptioner: An Omni Captioner\n', 'ugc'],
    ['README.md', '# **AVSCap: Orchestrating Synergy**\n', 'avscap'],
    ['README.md', '<div><h1>ASID-Caption: Towards Universal Models</h1></div>\n', 'asid'],
    ['README.md', '# Better than TimeChat-Captioner and DiaDem\n', 'avocado'],
    ['README.md', '# AVSCapBench\n', 'avocado'],
  ])('is told by its %s: %s', async (file, text, preset) => {
    put(file, text);
    expect((await readModelPackage(directory)).preset).toBe(preset);
  });

  it('is the one that avocado.json names, whose other fields go before it', async () => {
    put('README.md', '# DiaDem\n');
    put('avocado.json', JSON.stringify({ preset: 'timechat', maxTokens: 7, systemPrompt: 'Be brief.' }));
    const found = await readModelPackage(directory);
    expect(found).toMatchObject({
      preset: 'timechat',
      maxTokens: 7,
      systemPrompt: 'Be brief.',
      output: 'timed-scenes',
    });
  });

  it('that is asked for goes before avocado.json, but for the name', async () => {
    const file = { name: 'mine', world: 'All.', preset: 'ugc', maxTokens: 7, profile: { name: 'p', version: 1 } };
    put('avocado.json', JSON.stringify(file));
    const found = await readModelPackage(directory, 'asid');
    expect(found).toMatchObject({ name: 'mine', world: 'All.', preset: 'asid', maxTokens: 4096 });
    expect([found.profile, found.prompts.length]).toEqual([undefined, 15]);
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
