import { createServer } from 'node:http';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, afterAll, describe, expect, it } from 'vitest';
import { runCli } from '../fixtures/cli-run.ts';
import { fakeCaptioner } from '../fixtures/fake-captioner.ts';
import { serveApp, type ServedApp } from '../fixtures/served-app.ts';

let directory = '';
let app: ServedApp | undefined;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'avocado-bench-'));
  await writeFile(join(directory, 'a.mp4'), 'one');
  await writeFile(join(directory, 'b.mp4'), 'two');
  await writeFile(join(directory, 'notes.txt'), 'not a clip');
});

afterAll(async () => {
  await rm(directory, { recursive: true });
});

afterEach(async () => {
  await app?.close();
  app = undefined;
});

/** The JSON on the last line. */
function lastLine(stdout: string): { levels: Record<string, unknown>[]; clips: number } {
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as { levels: Record<string, unknown>[]; clips: number };
}

describe('avocado bench serve', () => {
  it('loads a server level by level: a table, and one line of JSON', async () => {
    app = await serveApp(fakeCaptioner());
    const { exitCode, stdout } = await runCli([
      'bench',
      'serve',
      directory,
      '--url',
      `${app.url}/`,
      '--concurrency',
      '1,3',
      '--requests',
      '4',
    ]);
    expect(exitCode).toBe(0);
    expect(stdout).toContain('tokens/s');
    const { levels, clips } = lastLine(stdout);
    expect(clips).toBe(2);
    expect(levels).toMatchObject([
      { concurrency: 1, captions: 4, failed: {} },
      { concurrency: 3, captions: 12, refused: 0 },
    ]);
    expect(levels[0]?.['tokens_per_second']).toBeGreaterThan(0);
  });

  it('counts clients that disconnect and continues', async () => {
    app = await serveApp(fakeCaptioner({ words: Array.from({ length: 200 }, () => 'word '), wordDelayMs: 20 }));
    const { stdout } = await runCli([
      'bench',
      'serve',
      directory,
      '--url',
      app.url,
      '--concurrency',
      '4',
      '--requests',
      '2',
      '--leaving',
      '1',
    ]);
    expect(lastLine(stdout).levels).toMatchObject([{ left: 8, captions: 0, failed: {} }]);
  });

  it('reports failures by their code and exits with 1', async () => {
    app = await serveApp(fakeCaptioner({ error: { code: 'media_undecodable', message: () => 'Broken.' } }));
    const { exitCode, stdout } = await runCli([
      'bench',
      'serve',
      directory,
      '--url',
      app.url,
      '--concurrency',
      '1',
      '--requests',
      '3',
    ]);
    expect(exitCode).toBe(5);
    expect(lastLine(stdout).levels).toMatchObject([{ failed: { media_undecodable: 3 } }]);
  });

  it('counts refusals of a full server and repeats the request', async () => {
    app = await serveApp(fakeCaptioner({ wordDelayMs: 200 }), { maxRequests: 1 });
    const { exitCode, stdout } = await runCli([
      'bench',
      'serve',
      directory,
      '--url',
      app.url,
      '--concurrency',
      '2',
      '--requests',
      '1',
    ]);
    expect(exitCode).toBe(0);
    const [level] = lastLine(stdout).levels;
    expect(level).toMatchObject({ captions: 2, failed: {} });
    expect(level?.['refused']).toBeGreaterThan(0);
  });

  it('says what to do when nothing listens, when a server is not ready, and without clips', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    await new Promise((resolve) => server.close(resolve));
    const unreachable = await runCli(['bench', 'serve', directory, '--url', `http://127.0.0.1:${port}`]);
    expect([unreachable.exitCode, unreachable.stderr]).toEqual([5, expect.stringContaining('avocado serve')]);
    expect(await runCli(['bench', 'serve', join(directory, 'none')])).toMatchObject({ exitCode: 3 });
    expect(await runCli(['bench', 'serve', '--concurrency', '1,x'])).toMatchObject({ exitCode: 2 });
  });
});
