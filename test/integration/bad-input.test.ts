// Everything a person can get wrong at the command line: its own code, its exit code, a sentence that
// helps, and nothing left behind.
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Captioner } from '../../src/captioner/captioner.ts';
import { openCaptioner } from '../../src/captioner/open-captioner.ts';
import type { CliEnvironment } from '../../src/cli/cli-environment.ts';
import { ERRORS, type ErrorCode } from '../../src/base/errors.ts';
import { describeRuntime } from '../../src/model/runtime/describe-runtime.ts';
import { exportModel } from '../../src/model/export/export.ts';
import { writeVariant } from '../fixtures/checkpoint-variants.ts';
import { golden } from '../fixtures/golden.ts';
import { hostileMedia, startBait, writeNoisy, writeTruncated, type Bait } from '../fixtures/hostile-media.ts';
import { runCli, type CliRun } from '../fixtures/cli-run.ts';
import { decoderProcesses } from '../fixtures/child-processes.ts';
import { runScript } from '../fixtures/run-script.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { processesWith, spawnCli, type SpawnedCli } from '../fixtures/spawned-cli.ts';

const scratch = scratchDirectory();
const CLIP = golden('clips/one-second.mp4');
const TINY = golden('checkpoints/tiny-a');

let runs = 0;
let bait: Bait;
beforeAll(async () => {
  bait = await startBait();
  // What the program makes in its temporary directory while it runs inside this process is looked for here at the end.
  await mkdir(scratch('tmp'));
  vi.stubEnv('TMPDIR', scratch('tmp'));
});
afterAll(async () => {
  await bait.close();
  for (const captioner of opened.values()) await captioner.close();
  vi.unstubAllEnvs();
  const files = (await readdir(scratch('tmp'))).filter((name) => !name.startsWith('tsx-')); // of runScript
  expect({ files, processes: decoderProcesses() }).toEqual({ files: [], processes: [] });
});

/** Opened models by their settings: dozens of refusals need none of their own. */
const opened = new Map<string, Captioner>();

const openOnce: CliEnvironment['openCaptioner'] = async (settings, onProgress) => {
  const key = JSON.stringify(settings);
  const captioner = opened.get(key) ?? (await openCaptioner(settings, onProgress));
  opened.set(key, captioner);
  return { ...captioner, close: () => Promise.resolve() };
};

/** The program inside this process, with the real model: a process of its own costs a second and more. */
function avocadoHere(...args: readonly string[]): Promise<CliRun> {
  const exportHere: CliEnvironment['exportModel'] = async (checkpoint, precision, out, options) =>
    (await exportModel(checkpoint, precision, out ?? '', options)).directory;
  return runCli(args, { environment: { openCaptioner: openOnce, exportModel: exportHere } });
}

/** The program as it is shipped, in a process of its own. */
async function avocado(...args: readonly string[]): Promise<SpawnedCli> {
  runs += 1;
  const run = await spawnCli(args, scratch(`tmp-${runs}`));
  expect({ files: run.leftFiles, processes: run.leftProcesses }).toEqual({ files: [], processes: [] });
  return run;
}

interface Refusal {
  readonly code: ErrorCode;
  readonly says: RegExp;
  readonly param?: string;
}

/** Both tellings of one refusal: the JSON line on stdout and the sentence on stderr. */
async function refused(args: readonly string[], { code, says, param }: Refusal): Promise<void> {
  const { exitCode: exit, stdout, stderr } = await avocadoHere(...args, '--json');
  const { error } = JSON.parse(stdout) as { error: { code: string; message: string; param: string | null } };
  expect({ code: error.code, exit }).toEqual({ code, exit: ERRORS[code].exit });
  expect(error.message).toMatch(says);
  expect(error.message).toMatch(/^[^\n]{20,}$/);
  if (param !== undefined) expect(error.param).toBe(param);
  expect(stderr).toBe(`error [${code}]: ${error.message}\n`);
}

describe('a file that cannot be captioned', () => {
  it.each(hostileMedia('http://127.0.0.1:1').map(({ title, code }) => [title, code] as const))(
    '%s gives %s',
    async (title) => {
      const { file, make, code, says } = hostileMedia(bait.url).find((media) => media.title === title)!;
      await make(scratch(file));
      await refused(['caption', scratch(file)], { code, says });
      expect(bait.calls()).toBe(0);
    },
  );

  it('a prompt beyond the context gives context_length_exceeded with the numbers, before a frame is decoded', async () => {
    await refused(['caption', CLIP, '--max-tokens', '200', '--context', '128'], {
      code: 'context_length_exceeded',
      says: /200.*over the limit of 128.*(Lower|lower)/s,
    });
  });

  it('sound alone with --no-audio gives bad_request', async () => {
    await refused(['caption', golden('clips/tones-44k1.wav'), '--no-audio'], {
      code: 'bad_request',
      says: /only sound.*Turn it on/,
      param: 'audio',
    });
  });
});

describe('a damaged file that still shows something', () => {
  it.each([
    ['cut at its end', writeTruncated, /cut short: 60 of 120 frames/],
    ['with noise among its pictures', writeNoisy, /damaged/],
  ] as const)('%s is captioned, with a warning and exit code 0', async (_, write, says) => {
    const path = scratch('damaged.mp4');
    await write(path);
    const { exitCode: code, stdout, stderr } = await avocadoHere('caption', path, '--json', '--max-tokens', '8');
    const answer = JSON.parse(stdout) as { caption: string; media: { warnings: string[]; video: { frames: number } } };
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(answer.caption.length).toBeGreaterThan(5);
    expect(answer.media.video.frames).toBeGreaterThanOrEqual(4);
    expect(answer.media.warnings.join('\n')).toMatch(says);
    const text = await avocadoHere('caption', path, '--max-tokens', '8');
    expect({ code: text.exitCode, stdout: text.stdout }).toEqual({ code: 0, stdout: `${answer.caption}\n` });
    expect(text.stderr).toMatch(/^(warning: [^\n]+\n)+$/);
  });

  it('among good ones costs only itself: the others are captioned, and the exit code tells', async () => {
    const { code, stdout } = await avocado(
      'caption',
      '--json',
      '--max-tokens',
      '4',
      CLIP,
      scratch('nowhere.mp4'),
      CLIP,
    );
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { file: string; caption?: string; error?: { code: string } });
    expect(code).toBe(ERRORS.media_not_found.exit);
    expect(lines.map(({ file, error }) => [basename(file), error?.code])).toEqual([
      ['one-second.mp4', undefined],
      ['nowhere.mp4', 'media_not_found'],
      ['one-second.mp4', undefined],
    ]);
    expect(lines[0]!.caption).toBe(lines[2]!.caption);
  });
});

describe('a model that cannot be used', () => {
  const withModel = (directory: string, ...more: readonly string[]): readonly string[] => [
    'caption',
    CLIP,
    '--model',
    directory,
    '--cache-dir',
    scratch('cache'),
    ...more,
  ];

  it('no directory gives checkpoint_not_found', async () => {
    await refused(withModel(scratch('no-model')), {
      code: 'checkpoint_not_found',
      says: /no-model: give the directory that holds config\.json/,
    });
  });

  it('a checkpoint of another model gives checkpoint_invalid, with what is supported', async () => {
    const directory = writeVariant(scratch('llama'), {
      base: 'tiny-a',
      config: (config) => ({ ...config, model_type: 'llama' }),
    });
    await refused(withModel(directory), {
      code: 'checkpoint_invalid',
      says: /model_type.*"llama".*supported: Qwen2\.5-Omni/,
    });
  });

  it('a tensor that is missing gives tensor_missing, by name', async () => {
    const directory = writeVariant(scratch('missing'), {
      base: 'tiny-a',
      without: ['model.layers.1.mlp.up_proj.weight'],
    });
    await refused(withModel(directory), {
      code: 'tensor_missing',
      says: /model\.layers\.1\.mlp\.up_proj\.weight.*incomplete or of another model/,
    });
  });

  it('a tensor of another shape gives tensor_invalid, with both shapes', async () => {
    const directory = writeVariant(scratch('shape'), { base: 'tiny-a', shapes: { 'model.norm.weight': [56, 2] } });
    await refused(withModel(directory), {
      code: 'tensor_invalid',
      says: /model\.norm\.weight.*expected shape \[112\].*found \[56, 2\].*Use the config\.json/,
    });
  });

  it('a shard cut short gives checkpoint_invalid, with the file', async () => {
    const directory = writeVariant(scratch('cut'), { base: 'tiny-a', shards: 1 });
    await truncate(`${directory}/model.safetensors`, 100_000);
    await refused(withModel(directory), { code: 'checkpoint_invalid', says: /model\.safetensors.*[Dd]ownload/ });
  });

  it('a precision that does not exist, and one that a CPU cannot run, give precision_unsupported', async () => {
    await refused(withModel(TINY, '--precision', 'int3'), {
      code: 'precision_unsupported',
      says: /fp32, int8, int4, bf16, fp16, not int3/,
      param: 'precision',
    });
    await refused(withModel(TINY, '--precision', 'bf16'), {
      code: 'precision_unsupported',
      says: /bf16 does not run on cpu: use one of fp32, int8, int4/,
      param: 'precision',
    });
  });

  it('an export without its last file, or with a shorter one, gives export_incomplete and the command that repairs it', async () => {
    const out = scratch('half');
    await exportModel(TINY, 'int4', out);
    await truncate(`${out}/weights.bin`, 1000);
    await refused(withModel(out), {
      code: 'export_incomplete',
      says: /weights\.bin has 1000 bytes.*avocado export .* --precision int4 --out/,
    });
    await rm(`${out}/manifest.json`);
    await refused(withModel(out), { code: 'export_incomplete', says: /never finished.*avocado export CHECKPOINT/ });
  });

  it('an export killed half-way leaves nothing that loads, and the next export clears it away', async () => {
    const out = scratch('killed');
    expect((await runScript('./export-and-die.ts', [TINY, out])).signal).toBe('SIGKILL');
    const staged = async (): Promise<string[]> =>
      (await readdir(scratch(''))).filter((name) => name.startsWith('.killed'));
    expect(await staged()).toHaveLength(1);
    await refused(withModel(out), { code: 'checkpoint_not_found', says: /killed: give the directory/ });
    await refused(withModel(scratch((await staged())[0]!)), {
      code: 'checkpoint_not_found',
      says: /holds no config\.json|give the directory/,
    });
    const again = await avocadoHere('export', TINY, '--precision', 'int4', '--out', out);
    expect([again.exitCode, again.stdout]).toEqual([0, `${out}\n`]);
    expect(await staged()).toEqual([]);
    expect((await avocadoHere(...withModel(out, '--max-tokens', '2'))).exitCode).toBe(0);
  });

  it('a directory with other files is never exported into', async () => {
    await mkdir(scratch('documents'));
    await writeFile(`${scratch('documents')}/thesis.txt`, 'years of work');
    const { exitCode, stderr } = await avocadoHere(
      'export',
      TINY,
      '--precision',
      'fp32',
      '--out',
      scratch('documents'),
    );
    expect(exitCode).toBe(ERRORS.bad_request.exit);
    expect(stderr).toMatch(/^error \[bad_request\]: .*documents holds other files: give a new or empty directory/);
    expect(await readdir(scratch('documents'))).toEqual(['thesis.txt']);
  });
});

const { cuda, gpus } = await describeRuntime();
const hasCuda = gpus.length > 0 && cuda?.complete === true;
if (hasCuda) console.warn('Skipped: --device cuda on a machine without CUDA. This one has it.');

describe.skipIf(hasCuda)('a machine without CUDA', () => {
  it.each(['native', 'node'])(
    '--device cuda on the %s runtime gives device_unavailable and what to install',
    async (runtime) => {
      const { code, stdout } = await avocado(
        'caption',
        CLIP,
        '--model',
        TINY,
        '--device',
        'cuda',
        '--runtime',
        runtime,
        '--cache-dir',
        scratch('cache'),
        '--json',
      );
      const { error } = JSON.parse(stdout) as { error: { code: string; message: string } };
      expect({ code, error: error.code }).toEqual({
        code: ERRORS.device_unavailable.exit,
        error: 'device_unavailable',
      });
      expect(error.message).toMatch(/--device cpu|npm rebuild|AVOCADO_ONNXRUNTIME|native/);
    },
  );
});

describe('a command line with a mistake', () => {
  it.each([
    [
      ['caption', CLIP, '--max-token', '9'],
      'bad_request',
      /'--max-token' \(Did you mean --max-tokens\?\)\. See avocado --help\./,
      'max_token',
    ],
    [['caption', CLIP, '--max-tokens', '0'], 'bad_request', /--max-tokens/, 'max_tokens'],
    [['caption', CLIP, '--max-tokens', 'many'], 'bad_request', /--max-tokens.*must be a number/, 'max_tokens'],
    [
      ['caption', CLIP, '--prompt', 'What?', '--prompt-id', '2'],
      'bad_request',
      /--prompt and --prompt-id exclude each other/,
      'prompt_id',
    ],
    [['caption', CLIP, '--device', 'tpu'], 'bad_request', /--device.*cpu, cuda or cuda:N/, 'device'],
    [['caption', CLIP, '--runtime', 'python'], 'bad_request', /--runtime.*native, node/, 'runtime'],
    [
      ['caption', CLIP, '--profile', 'cinema'],
      'bad_request',
      /"cinema".*Known: nano@2, paper@1, reference-cli@1/,
      'profile',
    ],
    [
      ['caption', CLIP, '--prompt-id', '8'],
      'bad_request',
      /prompt_id must be 1 to 7 for this model, not 8/,
      'prompt_id',
    ],
    [['caption'], 'bad_request', /file.*--help/, undefined],
    [['describe', CLIP], 'bad_request', /describe.*--help/, undefined],
  ] as const)('%j exits with 2 and names what is wrong', async (args, code, says, param) => {
    await refused(args, { code, says, ...(param === undefined ? {} : { param }) });
  });
});

describe('the way these tests look for what is left', () => {
  it('does see a process that holds the marker in its environment', async () => {
    expect(existsSync('/proc/self/environ')).toBe(true);
    const marker = scratch('marker');
    const { spawn } = await import('node:child_process');
    const child = spawn('sleep', ['30'], { env: { ...process.env, TMPDIR: marker } });
    expect(await processesWith(`TMPDIR=${marker}\0`)).toEqual(['sleep 30']);
    child.kill();
  });
});
