// `avocado reward` as a process: it serves until it is stopped, or reads lines and exits.
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { promisify } from 'node:util';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { BUILT_CLI } from '../fixtures/built-cli.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
let child: ChildProcess | undefined;
afterEach(() => {
  child?.kill('SIGKILL');
  child = undefined;
});

function start(args: readonly string[]): {
  readonly child: ChildProcess;
  readonly stdout: () => string;
  readonly stderr: () => string;
} {
  const started = spawn(process.execPath, [BUILT_CLI, 'reward', ...args], { cwd: ROOT });
  const out = { stdout: '', stderr: '' };
  started.stdout.setEncoding('utf8').on('data', (text: string) => (out.stdout += text));
  started.stderr.setEncoding('utf8').on('data', (text: string) => (out.stderr += text));
  child = started;
  return { child: started, stdout: () => out.stdout, stderr: () => out.stderr };
}

async function served(
  args: readonly string[] = [],
): Promise<{ readonly url: string; readonly child: ChildProcess; readonly stderr: () => string }> {
  const { child: started, stdout, stderr } = start(['--port', '0', ...args]);
  for (;;) {
    const url = /Rewards at (http:\/\/\S+)\/v1\/rewards/.exec(stdout())?.[1];
    if (url !== undefined) return { url, child: started, stderr };
    if (started.exitCode !== null) throw new Error(stderr());
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe('avocado reward', () => {
  it('says that the disk which takes its scores is full', async () => {
    const line = JSON.stringify({ completion: 'x', completion_tokens: 1 });
    const command = `echo '${line}' | '${process.execPath}' '${BUILT_CLI}' reward - --rewards length > /dev/full`;
    await expect(promisify(execFile)('sh', ['-c', command])).rejects.toMatchObject({
      code: 5,
      stderr: expect.stringMatching(/^error \[storage_full\]: Standard output cannot be written \(ENOSPC\)/m) as string,
    });
  });

  it('answers the curl line of rewards.md as that page says, with neither ONNX Runtime nor media libraries loaded, and stops on a signal', async () => {
    const page = readFileSync(`${ROOT}.github/docs/rewards.md`, 'utf8');
    const [, line, answer] =
      /^(curl -s http:\/\/127\.0\.0\.1:8100\/v1\/rewards .+)\n```\n```json\n(.+?) …$/m.exec(page) ?? [];
    const { url, child: started } = await served();
    const { stdout } = await promisify(execFile)('sh', ['-c', line!.replace('http://127.0.0.1:8100', url)]);
    expect(stdout).toContain(answer!);
    expect(readFileSync(`/proc/${started.pid!}/maps`, 'utf8')).not.toMatch(/onnxruntime|sharp|vips|avocado\.node/);
    started.kill('SIGTERM');
    expect(await once(started, 'close')).toEqual([0, null]);
  });

  it('warns when other machines can reach it', async () => {
    const { url, stderr } = await served(['--host', '0.0.0.0', '--length-from', '192', '--length-to', '256']);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    expect(stderr()).toContain('warning: 0.0.0.0 can be reached');
  });

  it('reports that its port is in use', async () => {
    const { url } = await served();
    const second = spawn(process.execPath, [BUILT_CLI, 'reward', '--port', new URL(url).port], { cwd: ROOT });
    let text = '';
    second.stderr.setEncoding('utf8').on('data', (more: string) => (text += more));
    expect(await once(second, 'close')).toEqual([2, null]);
    expect(text).toMatch(/^error \[bad_request\]: Port \d+ of 127\.0\.0\.1 is in use/);
  });

  it('reads lines from stdin', async () => {
    const { child: started, stdout } = start(['-', '--rewards', 'length']);
    started.stdin!.end('{"id":"a","completion":"x","completion_tokens":3072}\n');
    await once(started, 'close');
    expect(JSON.parse(stdout())).toEqual({ id: 'a', total: 0.5, length: { value: 0.5, tokens: 3072 }, errors: [] });
  });
});
