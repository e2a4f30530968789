import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openTemporaryDirectory } from '../../../src/storage/temporary-directory.ts';

let parent: string;

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'avocado-test-'));
});
afterEach(async () => {
  await rm(parent, { recursive: true, force: true });
});

describe('openTemporaryDirectory', () => {
  it('makes a directory only this user can read, and close() removes it with its files', async () => {
    const directory = await openTemporaryDirectory(parent);
    expect((await stat(directory.path)).mode & 0o777).toBe(0o700);
    await writeFile(directory.newPath('a.mp4'), 'x');
    await directory.close();
    expect(await readdir(parent)).toEqual([]);
  });

  it('keeps a harmless extension and nothing else of the name the client gave', async () => {
    const directory = await openTemporaryDirectory(parent);
    const shape = (name: string): string => basename(directory.newPath(name)).replace(/^[0-9a-f-]{36}/, 'ID');
    expect([
      shape('a.mp4'),
      shape('../../etc/passwd'),
      shape('a.mp4/../../b'),
      shape('x.m p4'),
      shape(''),
      shape('.hidden'),
    ]).toEqual(['ID.mp4', 'ID', 'ID', 'ID', 'ID', 'ID']);
    expect(directory.newPath('a.mp4')).not.toBe(directory.newPath('a.mp4'));
    await directory.close();
  });

  it('removes what dead processes of this host left, and leaves all else alone', async () => {
    const dead = spawnSync(process.execPath, ['-e', '']).pid;
    const host = hostname().replace(/[^A-Za-z0-9-]/g, '_');
    const own = `avocado-intake.${host}`;
    const earlierSelf = `${own}.${process.pid}.1000.abc`;
    const living = `${own}.${process.ppid}.1000.abc`;
    const names = [
      `${own}.${dead}.1000.abc`,
      earlierSelf,
      living,
      `avocado-intake.other-host.${dead}.1000.abc`,
      `${own}.x`,
      'avocado-intake',
      'unrelated',
    ];
    for (const name of names) await mkdir(join(parent, name));
    const first = await openTemporaryDirectory(parent);
    const second = await openTemporaryDirectory(parent);
    const left = await readdir(parent);
    expect(left.sort()).toEqual([...names.slice(2), basename(first.path), basename(second.path)].sort());
    await first.close();
    await second.close();
  });

  it('is removed when the process exits without closing it', () => {
    const script = `import { openTemporaryDirectory } from ${JSON.stringify(new URL('../../../src/storage/temporary-directory.ts', import.meta.url).href)};
      await openTemporaryDirectory(${JSON.stringify(parent)}); process.exit(3);`;
    const result = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      encoding: 'utf8',
    });
    expect([result.status, result.stderr]).toEqual([3, '']);
    expect(spawnSync('ls', ['-A', parent], { encoding: 'utf8' }).stdout).toBe('');
  });
});
