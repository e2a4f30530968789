// `avocado batch --server` with a server, both as processes of their own, with the bundled model.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { ResultLine } from '../../src/batch/types.ts';
import { BUILT_CLI } from '../fixtures/built-cli.ts';
import { jsonLines, put, variantOf } from '../fixtures/clip-library.ts';
import { examplePath } from '../fixtures/examples.ts';
import { scratchDirectory } from '../fixtures/scratch.ts';
import { spawnCli } from '../fixtures/spawned-cli.ts';
import { spawnServer, type SpawnedServer } from '../fixtures/spawned-server.ts';
import { stressSize } from '../fixtures/stress-size.ts';

const scratch = scratchDirectory();
const CLIP = readFileSync(examplePath('square-4s.mp4'));
const FLAGS = ['--max-tokens', '12', '--json'];
const KILLS = stressSize('kills of the command and of the server', { short: 1, long: 12 });
let server: SpawnedServer;
let shared: string;
let runs = 0;

beforeAll(async () => {
  shared = scratch('shared');
  mkdirSync(shared);
  server = await startServer();
});
afterAll(async () => {
  server.kill('SIGKILL');
  await server.ended;
});

/** On the same port and with the same jobs when it is started again. */
async function startServer(port = 0): Promise<SpawnedServer> {
  const flags = ['--jobs-dir', scratch('jobs'), '--media-root', `films=${shared}`, '--port', String(port)];
  return await spawnServer(flags, scratch(`server${runs++}`));
}

async function restartServer(): Promise<void> {
  const { port } = new URL(server.url);
  server.kill('SIGKILL');
  await server.ended;
  server = await startServer(Number(port));
}

async function batch(library: string, ...args: readonly string[]) {
  const flags = ['batch', library, '--server', server.url, ...FLAGS, ...args];
  const ended = await spawnCli(flags, scratch(`tmp${runs++}`));
  const told = `exit code ${ended.code}\n${ended.stdout}\n${ended.stderr}`;
  expect([ended.leftFiles, ended.leftProcesses], told).toEqual([[], []]);
  expect(ended.stdout, told).toMatch(/^\{/);
  const { outcomes } = JSON.parse(ended.stdout) as { readonly outcomes: Readonly<Record<string, number>> };
  return { ...ended, outcomes: Object.fromEntries(Object.entries(outcomes).filter(([, count]) => count > 0)) };
}

const lines = (library: string): ResultLine[] => jsonLines<ResultLine>(join(library, 'captions.jsonl'));

async function leftThere(): Promise<unknown[]> {
  const lists = await Promise.all(['jobs', 'files'].map((name) => fetch(`${server.url}/v1/${name}`)));
  const pages = (await Promise.all(lists.map((list) => list.json()))) as { readonly data: readonly unknown[] }[];
  return pages.flatMap(({ data }) => data);
}

describe('avocado batch --server', () => {
  it('captions as here: the same captions, sidecars and states, and nothing stays on the server', async () => {
    await put(join(shared, 'in', 'a b.mp4'), CLIP);
    await put(join(shared, 'twin.mp4'), CLIP);
    await put(join(shared, 'cut.mp4'), CLIP.subarray(0, 2000));
    const first = await batch(shared, '--media-root', `films=${shared}`, '--format', 'json,vtt');
    expect([first.outcomes, first.code]).toEqual([{ captioned: 1, duplicate: 1, failed: 1 }, 3]);
    expect(existsSync(join(shared, 'in', 'a b.mp4.vtt'))).toBe(true);
    expect(await leftThere()).toEqual([]);
    // Without the server it is the same work, which is done.
    const here = await spawnCli(['batch', shared, ...FLAGS, '--format', 'json,vtt', '--plan'], scratch('plan'));
    expect(here.stdout, here.stderr).toContain('"done":2');
    const [line] = lines(shared);
    const alone = await spawnCli(
      ['caption', join(shared, 'twin.mp4'), '--max-tokens', '12', '--json'],
      scratch('alone'),
    );
    expect((JSON.parse(alone.stdout) as ResultLine).caption).toBe(line!.caption);
  });

  it('goes on after each kill -9 of the command or of the server, each file once', async () => {
    const library = scratch('library');
    const names = Array.from({ length: 6 * KILLS }, (_, n) => `${n}.mp4`);
    for (const name of names) await put(join(library, name), variantOf(CLIP, name));
    for (let kill = 0; kill < KILLS; kill++) {
      const child = spawn(process.execPath, [BUILT_CLI, 'batch', library, '--server', server.url, ...FLAGS]);
      let told = '';
      child.stderr.on('data', (text: Buffer) => (told += text.toString()));
      const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
      const isOver = ended.then(() => true);
      const isBusy = vi.waitFor(async () => {
        expect(await leftThere(), told).not.toEqual([]);
        return false;
      }, 60_000);
      if (await Promise.race([isOver, isBusy])) break; // all is done
      if (kill % 2 === 0) child.kill('SIGKILL');
      else await restartServer();
      const code = await ended;
      if (kill % 2 === 1) expect(code, told).toBe(0);
    }
    const { outcomes } = await batch(library);
    expect(Object.keys(outcomes).every((name) => ['unchanged', 'captioned'].includes(name))).toBe(true);
    const paths = lines(library).map(({ path }) => path);
    expect(paths.sort()).toEqual(names.sort());
    expect((await batch(library)).outcomes).toEqual({ unchanged: names.length });
    expect(await leftThere()).toEqual([]);
  });
});
