import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { CliEnvironment } from '../../../src/cli/cli-environment.ts';
import type { Diagnosis } from '../../../src/cli/diagnose.ts';
import type { InspectReport } from '../../../src/captioner/inspect.ts';
import { runCli } from '../../fixtures/cli-run.ts';

const HERE = fileURLToPath(import.meta.url);

describe('avocado', () => {
  it('explains itself with --help, --version and no words at all', async () => {
    expect(await runCli(['--help'])).toMatchObject({ exitCode: 0, stderr: '' });
    expect((await runCli([])).stdout).toContain('Usage: avocado');
    expect((await runCli(['caption', '--help'])).stdout).toContain('--processor-fps');
    expect(await runCli(['bench'])).toMatchObject({
      exitCode: 0,
      stderr: '',
      stdout: expect.stringContaining('serve') as unknown,
    });
    expect((await runCli(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it.each([[['nope']], [['caption']], [['inspect', 'a', 'b']], [['inspect', '-']], [['export']], [['bench', 'x']]])(
    '%j is a mistake: exit 2, one sentence',
    async (args) => {
      const { exitCode, stdout, stderr } = await runCli(args);
      expect([exitCode, stdout]).toEqual([2, '']);
      expect(stderr).toMatch(/^error \[bad_request\]: [^\n]+\n$/);
    },
  );
});

describe('avocado migrate', () => {
  const url = 'postgres://a:secret@b/c';

  it('tells what was done to the tables', async () => {
    const asked: string[] = [];
    const migrate = async (databaseUrl: string) => ({ before: asked.push(databaseUrl) - 1, after: 1 });
    const run = () => runCli(['migrate'], { variables: { AVOCADO_DATABASE_URL: url }, environment: { migrate } });
    expect((await run()).stdout).toBe('The tables of jobs are at step 1: steps 1 to 1 were applied.\n');
    expect((await run()).stdout).toBe('The tables of jobs are at step 1: nothing was to be done.\n');
    expect(asked).toEqual([url, url]);
  });

  it('needs the URL of a PostgreSQL, and does not repeat it', async () => {
    for (const args of [[], ['--database', 'mysql://a:secret@b/c']]) {
      const { exitCode, stderr } = await runCli(['migrate', ...args]);
      expect(exitCode).toBe(2);
      expect(stderr).toMatch(/^error \[bad_request\]: [^\n]*--database[^\n]*\n$/);
      expect(stderr).not.toContain('secret');
    }
  });
});

describe('avocado inspect', () => {
  const report: InspectReport = {
    stage: 'plan',
    model: 'm',
    preset: 'avocado',
    profile: {
      name: 'paper',
      version: 1,
      fps: 2,
      minFrames: 4,
      maxFrames: 768,
      minPixels: 1,
      maxPixels: 2,
      totalPixels: 3,
      processorMinPixels: 4,
      processorMaxPixels: 5,
      processorFps: 2,
    },
    probe: {
      path: 'a.mp4',
      container: 'mov',
      sizeBytes: 9,
      durationSeconds: 1,
      video: undefined,
      audio: { index: 0, codec: 'aac', sampleRate: 48000, channels: 2, durationSeconds: 1 },
    },
    frames: { count: 30, indices: Array.from({ length: 30 }, (_, index) => index), sampleFps: 2 },
    sizes: { stageA: { height: 28, width: 56 }, final: { height: 28, width: 56 } },
    grid: [15, 2, 4],
    secondPerGrid: 1,
    tokens: { text: 10, video: 30, image: 0, audio: 25, total: 65 },
    tokensExact: false,
    budget: { context: 64, prompt: 65, maxTokens: 10, fits: false },
    runLengths: 'text*10 V*30',
    ropeDelta: -3,
    warnings: ['cut'],
    topTokens: [{ id: 1, text: 'A', logit: 1.5 }],
    dump: undefined,
    timings: { probe: 0.1 },
  };
  const inspecting = (seen: unknown[] = []) => ({
    environment: {
      inspect: async (...args: unknown[]) => {
        seen.push(args[1]);
        return report;
      },
    },
  });

  it('is a dry run; a dump goes on to the logits unless a stage is named', async () => {
    const seen: { stage: string; dump: string | undefined }[] = [];
    for (const flags of [
      [],
      ['--dump', 'o'],
      ['--dump', 'o', '--stage', 'towers'],
      ['--stage', 'features'],
      ['--dump', 'o', '--stage', 'plan'],
    ]) {
      expect((await runCli(['inspect', HERE, ...flags], inspecting(seen))).exitCode).toBe(0);
    }
    expect(seen.map(({ stage, dump }) => [stage, dump])).toEqual([
      ['plan', undefined],
      ['logits', 'o'],
      ['towers', 'o'],
      ['features', undefined],
      ['features', 'o'],
    ]);
  });

  it('prints a table for people and snake_case JSON for scripts', async () => {
    const { stdout } = await runCli(['inspect', HERE], inspecting());
    for (const words of [
      'paper@1',
      'aac 48000 Hz',
      '30 at 2.000 fps: 0 1',
      '15 2 4',
      '65 = 10 text + 30 video + 25 audio (sound',
      'DOES NOT FIT',
      'text*10 V*30',
      '"A" 1.500',
      'cut',
    ])
      expect(stdout).toContain(words);
    expect(JSON.parse((await runCli(['inspect', HERE, '--json'], inspecting())).stdout)).toMatchObject({
      run_lengths: 'text*10 V*30',
      rope_delta: -3,
      frames: { sample_fps: 2 },
      budget: { max_tokens: 10, fits: false },
    });
  });
});

describe('avocado export', () => {
  it('prints the directory on stdout, progress on stderr', async () => {
    const { exitCode, stdout, exported } = await runCli(['export', 'ckpt', '--precision', 'int4', '--out', 'o']);
    expect([exitCode, stdout, exported]).toEqual([0, 'o\n', [['ckpt', 'int4', 'o']]]);
    expect((await runCli(['export', 'ckpt', '--precision', 'fp32'])).stdout).toBe('/cache/entry\n');
  });

  it('exports for the device that is named, for a CPU without one', async () => {
    const environment = {
      exportModel: async (...[, , , { device }]: Parameters<CliEnvironment['exportModel']>) => device,
    };
    const stdoutOf = async (...args: string[]): Promise<string> =>
      (await runCli(['export', 'ckpt', '--precision', 'int4', ...args], { environment })).stdout;
    expect([await stdoutOf(), await stdoutOf('--device', 'cuda:1')]).toEqual(['cpu\n', 'cuda\n']);
    expect(await runCli(['export', 'ckpt', '--precision', 'int4', '--device', 'tpu'])).toMatchObject({ exported: [] });
  });

  it('wants a precision', async () => {
    expect(await runCli(['export', 'ckpt'])).toMatchObject({ exitCode: 2, exported: [] });
    expect(await runCli(['export', 'ckpt', '--precision', 'fp8'])).toMatchObject({ exitCode: 4, exported: [] });
  });
});

describe('avocado doctor', () => {
  const diagnosis = (ffmpegOk: boolean): { environment: { diagnose: () => Promise<Diagnosis> } } => ({
    environment: {
      diagnose: async () => ({
        checks: [
          { name: 'gpu', ok: false, needed: false, value: 'none' },
          { name: 'ffmpeg', ok: ffmpegOk, needed: true, value: 'missing', advice: 'Install it.' },
        ],
      }),
    },
  });

  it('is content without what only makes it faster', async () => {
    const { exitCode, stdout } = await runCli(['doctor'], diagnosis(true));
    expect(exitCode).toBe(0);
    expect(stdout).toContain('Captions can be made.');
  });

  it('exits 6 and says what to do when something needed is missing', async () => {
    const text = await runCli(['doctor'], diagnosis(false));
    expect(text.exitCode).toBe(6);
    expect(text.stdout).toContain('No captions yet. ffmpeg: Install it.');
    const json = await runCli(['doctor', '--json'], diagnosis(false));
    expect([json.exitCode, JSON.parse(json.stdout)]).toMatchObject([
      6,
      { ok: false, checks: [{ name: 'gpu' }, { name: 'ffmpeg', advice: 'Install it.' }] },
    ]);
  });
});
