import { mkdirSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { captionOf, MINIATURES } from '../../fixtures/benchmarks.ts';
import { runCli } from '../../fixtures/cli-run.ts';
import { fakeJudge, type FakeReply } from '../../fixtures/fake-judge.ts';
import { scratchDirectory } from '../../fixtures/scratch.ts';

const scratch = scratchDirectory();
const NAME = 'ugc-videocap';
const CLIPS = 3;
const REPLY = '{"visual":3,"audio":3,"details":3}';
let runs = 0;

/** A dataset of three clips, and captions of the first `made` of them. */
function flagsFor(made: number): string[] {
  const [data, captions, out] = ['data', 'captions', 'out'].map((name) => scratch(`${name}-${runs}`)) as [
    string,
    string,
    string,
  ];
  runs += 1;
  mkdirSync(data);
  MINIATURES[NAME]!(data, CLIPS);
  const lines = Array.from({ length: made }, (_, index) =>
    JSON.stringify({ video_id: String(index).padStart(4, '0'), caption: captionOf(index, 9) }),
  );
  writeFileSync(captions, lines.join('\n'));
  return ['evaluate', NAME, '--data', data, '--captions', captions, '--out', out];
}

async function judged(made: number, answer: () => FakeReply) {
  const judge = await fakeJudge(answer);
  const run = await runCli([...flagsFor(made), '--judge', judge.url, '--judge-model', 'm']);
  await judge.close();
  return { exitCode: run.exitCode, warnings: run.stderr.split('\n').filter((line) => line.startsWith('warning')) };
}

describe('avocado evaluate', () => {
  it('ends with 0 when every clip is judged', async () => {
    expect(await judged(CLIPS, () => REPLY)).toEqual({ exitCode: 0, warnings: [] });
  });

  it('tells which clips have no caption, and ends with the code of media', async () => {
    const { exitCode, warnings } = await judged(CLIPS - 1, () => REPLY);
    expect([exitCode, warnings]).toEqual([
      3,
      ['warning: 1 clips have no caption, such as 0002. The strict counting takes them as the worst.'],
    ]);
    const { exitCode: unjudged, stderr } = await runCli(flagsFor(1));
    expect([unjudged, stderr]).toEqual([3, expect.stringContaining('2 clips have no caption, such as 0001.')]);
  });

  it('tells of clips that the judge did not judge, and ends with the code of a service', async () => {
    const refused = await judged(CLIPS - 1, () => ({ status: 401, body: 'no key' }));
    expect(refused.exitCode).toBe(5);
    expect(refused.warnings.join('\n')).toContain('1 clips have no caption');
    expect(refused.warnings.join('\n')).toContain('2 clips are not judged yet: start the command again.');
    const unreadable = await judged(CLIPS, () => 'no idea');
    expect(unreadable.exitCode).toBe(5);
    expect(unreadable.warnings.at(-1)).toBe('warning: The replies of the judge about 3 clips cannot be read.');
  });

  it('tells of spoken lines that the judge did not compare, and ends with the code of a service', async () => {
    const judge = await fakeJudge(({ text }) => (text.includes('is said') ? { status: 401, body: 'no key' } : REPLY));
    const flags = ['--judge', judge.url, '--judge-model', 'm', '--dialogue'];
    const { exitCode, stderr } = await runCli([...flagsFor(CLIPS), ...flags]);
    await judge.close();
    expect([exitCode, stderr]).toEqual([5, expect.stringContaining('The spoken lines of 3 clips have no score.')]);
  });

  it.each([
    [['--dialogue'], '--dialogue needs --judge.'],
    [['--runs', '2'], '--runs needs --judge.'],
    [['--judge-model', 'm'], '--judge-model needs --judge'],
    [['--judge-price', '1,2', '--max-cost', '1'], '--judge-price needs --judge.'],
    [['--server', 'http://x/v1', '--server-model', 'm'], '--captions and --server exclude each other'],
    [['--references', import.meta.filename], '--references needs --dialogue.'],
  ])('refuses %j, of which something would be ignored', async (flags, sentence) => {
    const { exitCode, stderr, stdout } = await runCli([...flagsFor(CLIPS), ...flags]);
    expect([exitCode, stdout, stderr]).toEqual([2, '', expect.stringContaining(sentence)]);
  });
});
