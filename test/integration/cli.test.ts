// The program as a person starts it, with the bundled model, real ffmpeg and real signals.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BUILT_CLI } from '../fixtures/built-cli.ts';
import { examplePath, WIDE } from '../fixtures/examples.ts';
import { threadsOf } from '../fixtures/engine-processes.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const CLIP = examplePath(WIDE);
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'avocado-cli-'));
  await mkdir(join(directory, 'tmp'));
});
afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

interface Answer {
  readonly caption: string;
  readonly finish_reason: string;
  readonly usage: { readonly completion_tokens: number };
  readonly token_ids: readonly number[];
  readonly token_logprobs: readonly number[];
}

interface Started {
  readonly child: ChildProcess;
  readonly out: { stdout: string; stderr: string };
  readonly exit: Promise<number | null>;
}

function start(args: readonly string[]): Started {
  const env = { ...process.env, TMPDIR: join(directory, 'tmp') };
  const child = spawn(process.execPath, [BUILT_CLI, ...args], { cwd: ROOT, env });
  const out = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (out.stderr += text));
  return { child, out, exit: once(child, 'close').then(([code]) => code as number | null) };
}

async function avocado(...args: readonly string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const { exit, out } = start(args);
  const code = await exit;
  return { code, ...out };
}

/** what lies in the program's temporary directory */
async function leftovers(): Promise<string[]> {
  return readdir(join(directory, 'tmp'));
}

/** Waits for something that the program writes. @throws Error with all it wrote, when it ends or hangs before */
async function until({ child, out }: Started, what: (stdout: string) => boolean): Promise<void> {
  for (let tries = 0; !what(out.stdout); tries++) {
    const hasEnded = child.exitCode !== null || child.signalCode !== null;
    if (hasEnded || tries > 4000) {
      const how = hasEnded ? `ended with ${child.exitCode ?? child.signalCode}` : 'did not do it within 200 s';
      const threads = hasEnded ? '' : threadsOf(child.pid!);
      throw new Error(`The program ${how}. stdout: ${out.stdout}\nstderr: ${out.stderr}\n${threads}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** processes whose parent is `pid`, from /proc */
async function childrenOf(pid: number): Promise<number> {
  const numbers = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(numbers.map((number) => readFile(`/proc/${number}/stat`, 'utf8').catch(() => '')));
  return stats.filter((stat) => stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] === String(pid)).length;
}

describe('avocado caption, with the bundled model', () => {
  it('gives the same words as text and as JSON, and one log-probability a token', async () => {
    const text = await avocado('caption', CLIP, '--max-tokens', '12');
    const json = await avocado('caption', CLIP, '--max-tokens', '12', '--json', '--token-ids');
    expect([text.code, text.stderr, json.code, json.stderr]).toEqual([0, '', 0, '']);
    const body = JSON.parse(json.stdout) as Answer;
    expect(text.stdout).toBe(`${body.caption}\n`);
    expect(body.caption.length).toBeGreaterThan(10);
    expect([
      body.token_ids.length,
      body.token_logprobs.length,
      body.usage.completion_tokens,
      body.finish_reason,
    ]).toEqual([12, 12, 12, 'length']);
    expect(body.token_logprobs.every((logprob) => logprob <= 0)).toBe(true);
  });

  it('tells every bad file its own error, exits 3, and leaves nothing behind', async () => {
    const files = {
      none: 'none.mp4',
      directory: 'dir',
      empty: 'empty.mp4',
      text: 'text.mp4',
      playlist: 'playlist.mp4',
    };
    await mkdir(join(directory, files.directory));
    await writeFile(join(directory, files.empty), '');
    await writeFile(join(directory, files.text), 'Dear diary, this is no video.\n'.repeat(50));
    await writeFile(
      join(directory, files.playlist),
      `#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n${CLIP}\n#EXT-X-ENDLIST\n`,
    );
    const { code, stdout } = await avocado(
      'caption',
      '--json',
      ...Object.values(files).map((name) => join(directory, name)),
    );
    const codes = stdout
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { error?: { code: string } }).error?.code);
    expect(code).toBe(3);
    expect(codes.slice(0, 4)).toEqual(['media_not_found', 'media_not_a_file', 'media_empty', 'media_unsupported']);
    expect(codes[4]).toMatch(/^media_/);
    expect(await leftovers()).toEqual([]);
  });

  it('stops on Ctrl-C with 130, and no process outlives it', async () => {
    const started = start(['caption', ...Array.from({ length: 40 }, () => CLIP)]);
    const { child, out, exit } = started;
    await until(started, (stdout) => stdout.split('==').length > 4);
    child.kill('SIGINT');
    expect(await exit).toBe(130);
    expect(out.stderr).toBe('error [aborted]: Interrupted: nothing was kept.\n');
    expect(await childrenOf(child.pid!)).toBe(0);
    expect(await leftovers()).toEqual([]);
  });

  it('names a model that is not there: exit 4', async () => {
    const { code, stderr } = await avocado('caption', CLIP, '--model', join(directory, 'no-model'));
    expect(code).toBe(4);
    expect(stderr).toMatch(/^error \[checkpoint_not_found\]: [^\n]*no-model[^\n]*\n$/);
  });
});

describe('avocado inspect and doctor', () => {
  it('inspect plans without decoding, and dumps tensors when asked', async () => {
    const dump = join(directory, 'dump.safetensors');
    const plan = await avocado('inspect', CLIP, '--json');
    const full = await avocado('inspect', CLIP, '--json', '--dump', dump, '--stage', 'features');
    expect([plan.code, full.code]).toEqual([0, 0]);
    expect(JSON.parse(plan.stdout)).toMatchObject({
      stage: 'plan',
      model: 'avocado-nano',
      frames: { count: 12 },
      budget: { fits: true },
    });
    const { dump: written } = JSON.parse(full.stdout) as { dump: { tensors: string[] } };
    expect(written.tensors).toEqual(
      expect.arrayContaining([
        'frame_indices',
        'pixel_values_videos',
        'video_grid_thw',
        'waveform',
        'input_features',
        'input_ids',
        'position_ids',
      ]),
    );
    expect(existsSync(dump)).toBe(true);
    const nowhere = join(directory, 'none', 'dump.safetensors');
    const refused = await avocado('inspect', CLIP, '--dump', nowhere, '--stage', 'features');
    expect(refused.stderr).toContain(`${nowhere} cannot be written (ENOENT). Name a file in a directory`);
  });

  it('doctor finds all that a caption needs', async () => {
    const { code, stdout } = await avocado('doctor', '--json');
    const { ok, checks } = JSON.parse(stdout) as { ok: boolean; checks: { name: string; ok: boolean }[] };
    expect([code, ok]).toEqual([0, true]);
    expect(checks.filter((check) => check.ok).map(({ name }) => name)).toEqual(
      expect.arrayContaining(['node', 'ffmpeg', 'onnxruntime', 'model']),
    );
  });
});
