import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { baseUrl, serverAddress } from '../../../src/cli/flag-values.ts';
import { runCli } from '../../fixtures/cli-run.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();
const FILE = fileURLToPath(import.meta.url);
let directory = '';
beforeAll(() => {
  directory = scratch('directory');
  mkdirSync(directory);
});

describe('An address', () => {
  it.each(['http://gpu:8080', 'http://gpu:8080/', 'http://gpu:8080/v1', 'http://gpu:8080/v1//'])(
    'of our server may be %s',
    (text) => {
      expect(serverAddress(text)).toBe('http://gpu:8080');
    },
  );

  it('of an OpenAI-compatible server keeps its path', () => {
    expect(baseUrl('https://gpu/a/v1/')).toBe('https://gpu/a/v1');
  });

  it.each(['gpu:8080', 'ftp://gpu', 'http://', 'http:///x', 'http://a b', 'http://a:b@gpu', 'http://gpu?x', ''])(
    'is not %j',
    (text) => {
      expect(() => baseUrl(text)).toThrow('It must be the base URL');
      expect(() => serverAddress(text)).toThrow('It must be the URL of a server');
    },
  );

  it('that bench cannot use is refused before anything is read', async () => {
    const { exitCode, stderr } = await runCli(['bench', 'serve', 'nowhere', '--url', 'gpu']);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('It must be the URL of a server')]);
  });
});

describe('A path', () => {
  const judge = ['--judge', 'http://127.0.0.1:9/v1', '--judge-model', 'm'];
  it.each([
    [['reward', 'x', ...judge, '--prompts', FILE], 'It is no directory.'],
    [['reward', 'x', '--tokenizer', `${FILE}/x`], 'There is no such directory.'],
    [['evaluate', 'ugc-videocap', ...judge, '--prompts', FILE], 'It is no directory.'],
    [['evaluate', 'ugc-videocap', '--data', `${FILE}x`], 'There is no such directory.'],
    [['evaluate', 'ugc-videocap', '--out', FILE], 'It is no directory.'],
    [['evaluate', 'ugc-videocap', '--captions', import.meta.dirname], 'It is a directory, not a file.'],
    [['evaluate', 'ugc-videocap', '--references', `${FILE}x`], 'There is no such file.'],
    [['curate', 'x', '--out', FILE], 'It is no directory.'],
    [['batch', 'x', '--out', FILE], 'It is no directory.'],
    [['batch', 'x', '--root', `${FILE}x`], 'There is no such directory.'],
    [['batch', '--list', import.meta.dirname], 'It is a directory, not a file.'],
    [['batch', 'x', '--server', 'http://x', '--media-root', `m=${FILE}`], 'It is no directory.'],
  ])('of another kind is refused at once: %j', async (args, sentence) => {
    const { exitCode, stdout, stderr } = await runCli(args);
    expect([exitCode, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^error \[bad_request\]: [^\n]+\n$/);
    expect(stderr).toContain(sentence);
  });

  it.each([
    [['batch', ''], 'An argument of avocado batch is empty.'],
    [['batch', 'x', '--list', ''], 'There is no such file.'],
    [['batch', 'x', '--out', ''], '--out is empty.'],
    [['caption', FILE, ''], 'An argument of avocado caption is empty.'],
    [['caption', FILE, '--model', ''], '--model is empty.'],
    [['curate', 'x', '--out', ''], '--out is empty.'],
    [['bench', 'serve', ''], 'An argument of avocado serve is empty.'],
    [['reward', 'x', '--judge-log', ''], '--judge-log is empty.'],
  ])('that is empty does not mean the working directory: %j', async (args, sentence) => {
    const { exitCode, stdout, stderr, opened } = await runCli(args);
    expect([exitCode, stdout, opened]).toEqual([2, '', []]);
    expect(stderr).toContain(sentence);
  });

  it('of a clip that bench cannot read is told', async () => {
    mkdirSync(`${directory}/a.mp4`);
    writeFileSync(`${directory}/b.mp4`, 'clip');
    const { exitCode, stderr } = await runCli(['bench', 'serve', directory]);
    expect([exitCode, stderr]).toEqual([3, expect.stringContaining('a.mp4 cannot be read (EISDIR)')]);
  });
});

describe('avocado caption', () => {
  it('refuses flags that it would ignore', async () => {
    for (const flags of ['--token-ids', '--judge http://x/v1']) {
      const { exitCode, stderr, opened } = await runCli(['caption', FILE, ...flags.split(' ')]);
      expect([exitCode, opened]).toEqual([2, []]);
      expect(stderr).toContain(`${flags.split(' ')[0] ?? ''} needs --`);
    }
  });
});
