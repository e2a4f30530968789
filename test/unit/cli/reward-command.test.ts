import { readFileSync, writeFileSync } from 'node:fs';
import { PassThrough, Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, vi } from 'vitest';
import { fakeJudge } from '../../fixtures/fake-judge.ts';
import { runCli } from '../../fixtures/cli-run.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();
const MODEL = fileURLToPath(new URL('../../../models/avocado-nano', import.meta.url));
const caption = 'On a plain gray background there is a small red circle on the left. At first, a high beep is heard.';

function fileOf(name: string, lines: readonly unknown[]): string {
  const path = scratch(name);
  writeFileSync(path, lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'));
  return path;
}

describe('avocado reward FILE', () => {
  it('writes a line for each caption in order, and means to stderr', async () => {
    const lines = Array.from({ length: 600 }, (_, index) => ({
      id: String(index),
      completion: index % 2 === 0 ? caption : '',
      completion_tokens: index,
      reference: { caption },
    }));
    const { exitCode, stdout, stderr } = await runCli(['reward', fileOf('many', [...lines, ''])]);
    expect(exitCode).toBe(0);
    const scores = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { id: string; total: number });
    expect(scores.map(({ id }) => id)).toEqual(lines.map(({ id }) => id));
    expect(scores.slice(0, 2).map(({ total }) => total)).toEqual([3, 2]);
    expect(stderr).toMatch(/^checklist\s+0\.5000\s+of 600 of 600$/m);
    expect(stderr).toMatch(/^total\s+2\.5000\s+of 600 of 600$/m);
  });

  it('counts tokens with the tokenizer of a model directory; without one R_L is null and says why', async () => {
    const file = fileOf('uncounted', [{ completion: caption, reference: { caption } }]);
    const counted = JSON.parse(
      (
        await runCli([
          'reward',
          file,
          '--tokenizer',
          MODEL,
          '--rewards',
          'length',
          '--length-from',
          '1',
          '--length-to',
          '60',
        ])
      ).stdout,
    ) as { length: { value: number; tokens: number } };
    expect(counted.length.tokens).toBeGreaterThan(10);
    expect(counted.length.value).toBeCloseTo(1 - (counted.length.tokens - 1) / 59, 9);
    const { stdout, stderr } = await runCli(['reward', file, '--rewards', 'length', '--weights', '2']);
    expect(JSON.parse(stdout)).toMatchObject({ total: null, errors: [{ code: 'no_token_count' }] });
    expect(stderr).toContain('null: length no_token_count, 1 times');
  });

  it('asks a judge and logs all its replies', async () => {
    const judge = await fakeJudge(
      () =>
        '<think>hm</think>{"Count of correctly mentioned keypoints": 1, "Correctly mentioned keypoints": ["It rains"]}',
    );
    const file = fileOf('judged', [{ completion: 'It rains.', reference: { keypoints: ['It rains', 'A dog barks'] } }]);
    const log = scratch('answers');
    const { exitCode, stdout } = await runCli([
      'reward',
      file,
      '--rewards',
      'checklist',
      '--judge',
      `${judge.url}/`,
      '--judge-model',
      'm',
      '--judge-log',
      log,
    ]);
    await judge.close();
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ total: 0.5, checklist: { matched: 1, total: 2 } });
    await vi.waitFor(() => {
      expect(JSON.parse(readFileSync(log, 'utf8'))).toMatchObject({
        question: { model: 'm' },
        answer: expect.stringContaining('<think>hm') as unknown,
      });
    });
  });

  it('reads standard input with a byte order mark, CRLF and line separators inside a text', async () => {
    const lines = ['one', 'a\u2028b\u2029c', 'last'].map((completion) =>
      JSON.stringify({ completion, id: completion }),
    );
    const bytes = Buffer.from(`\uFEFF${lines.join('\r\n')}`);
    const stdin = () => Readable.from([bytes.subarray(0, 30), bytes.subarray(30)]);
    const { exitCode, stdout } = await runCli(['reward', '-', '--rewards', 'length'], { environment: { stdin } });
    const ids = stdout.split('\n').map((line) => line && (JSON.parse(line) as { id: string }).id);
    expect([exitCode, ids]).toEqual([0, ['one', 'a\u2028b\u2029c', 'last', '']]);
  });

  it('stops when it is interrupted while it waits for a line', async () => {
    const controller = new AbortController();
    const stdin = () => {
      setTimeout(() => {
        controller.abort();
      });
      return new PassThrough();
    };
    const run = await runCli(['reward', '-'], { environment: { stdin }, signal: controller.signal });
    expect([run.exitCode, run.stdout]).toEqual([130, '']);
  });

  it.each([
    [['--rewards', 'length,length'], 'Each reward counts once'],
    [['--judge-model', 'm'], '--judge-model needs --judge URL'],
    [['--judge-log', 'log'], '--judge-log needs --judge URL'],
  ])('refuses %j', async (flags, sentence) => {
    const { exitCode, stderr } = await runCli(['reward', fileOf('any', []), ...flags]);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining(sentence)]);
  });

  it('ends with the code of a service when its judge cannot be asked', async () => {
    const judge = await fakeJudge(() => ({ status: 401, body: 'no key' }));
    const file = fileOf('refused', [{ completion: 'It rains.', reference: { keypoints: ['It rains'] } }]);
    const flags = ['--rewards', 'checklist', '--judge', judge.url, '--judge-model', 'm'];
    const { exitCode, stdout } = await runCli(['reward', file, ...flags]);
    await judge.close();
    expect([exitCode, JSON.parse(stdout)]).toEqual([
      5,
      { total: null, checklist: { value: null }, errors: [expect.objectContaining({ code: 'judge_refused' })] },
    ]);
  });

  it('stops when it is interrupted', async () => {
    const { exitCode, stdout } = await runCli(
      ['reward', fileOf('one', [{ completion: caption, reference: { caption } }])],
      { signal: AbortSignal.abort() },
    );
    expect([exitCode, stdout]).toEqual([130, '']);
  });

  it.each<[name: string, lines: readonly unknown[], words: string]>([
    ['no JSON', [{ completion: 'x' }, 'oops'], 'Line 2 is not JSON'],
    ['no caption', [{ id: 'x' }], 'line 1.completion is missing'],
    ['an unknown field', [{ completion: 'x', caption: 'y' }], 'line 1.caption is not a field'],
  ])('names the line that has %s', async (name, lines, words) => {
    const { exitCode, stderr } = await runCli(['reward', fileOf(name, lines)]);
    expect(exitCode).toBe(2);
    expect(stderr).toContain(words);
  });

  it.each<[args: readonly string[], words: string]>([
    [[], 'give --port'],
    [['x.jsonl', '--port', '0'], 'not both'],
    [['/nowhere.jsonl'], 'ENOENT'],
    [['x', '--judge', 'gpt'], 'base URL'],
    [['x', '--judge', 'http://127.0.0.1:9/v1'], '--judge-model'],
    [['x', '--judge', 'http://127.0.0.1:9/v1', '--judge-model', 'm', '--judge-log', '/nowhere/log'], '--judge-log'],
    [['x', '--rewards', 'beauty'], 'some of checklist'],
    [['x', '--weights', '1,2'], '2 weights for 3 rewards'],
    [['x', '--length-from', '300', '--length-to', '200'], 'must be less than'],
    [['x', '--normalisation', 'none'], 'raw'],
    [['x', '--tokenizer', '/nowhere'], 'tokenizer'],
  ])('refuses %j', async (args, words) => {
    const { exitCode, stdout, stderr } = await runCli(['reward', ...args]);
    expect([2, 4]).toContain(exitCode);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^error \[\w+\]: [^\n]+\n$/);
    expect(stderr).toContain(words);
  });
});
