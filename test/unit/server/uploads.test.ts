import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openUploads } from '../../../src/server/uploads.ts';

let parent: string;

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'avocado-uploads-test-'));
});
afterEach(async () => {
  await rm(parent, { recursive: true, force: true });
});

describe('openUploads', () => {
  it('makes a directory only this user can read, and close() removes it with its files', async () => {
    const uploads = await openUploads(parent);
    expect((await stat(uploads.directory)).mode & 0o777).toBe(0o700);
    await writeFile(uploads.newPath('a.mp4'), 'x');
    await uploads.close();
    expect(await readdir(parent)).toEqual([]);
  });

  it('keeps a harmless extension and nothing else of the name the client gave', async () => {
    const uploads = await openUploads(parent);
    const shape = (name: string): string => basename(uploads.newPath(name)).replace(/^[0-9a-f-]{36}/, 'ID');
    expect([shape('a.mp4'), shape('../../etc/passwd'), shape('a.mp4/../../b'), shape('x.m p4'), shape(''), shape('.hidden')]).toEqual(['ID.mp4', 'ID', 'ID', 'ID', 'ID', 'ID']);
    expect(uploads.newPath('a.mp4')).not.toBe(uploads.newPath('a.mp4'));
    await uploads.close();
  });

  it('removes what dead processes of this host left, and leaves all else alone', async () => {
    const dead = spawnSync(process.execPath, ['-e', '']).pid;
    const host = hostname().replace(/[^A-Za-z0-9-]/g, '_');
    const own = `avocado-uploads.${host}`;
    const earlierSelf = `${own}.${process.pid}.1000.abc`;
    const living = `${own}.${process.ppid}.1000.abc`;
    const names = [`${own}.${dead}.1000.abc`, earlierSelf, living, `avocado-uploads.other-host.${dead}.1000.abc`, `${own}.x`, 'avocado-uploads', 'unrelated'];
    for (const name of names) await mkdir(join(parent, name));
    const first = await openUploads(parent);
    const second = await openUploads(parent);
    const left = await readdir(parent);
    expect(left.sort()).toEqual([...names.slice(2), basename(first.directory), basename(second.directory)].sort());
    await first.close();
    await second.close();
  });

  it('is removed when the process exits without closing it', () => {
    const script = `import { openUploads } from ${JSON.stringify(new URL('../../../src/server/uploads.ts', import.meta.url).href)};
      await openUploads(${JSON.stringify(parent)}); process.exit(3);`;
    const result = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], { encoding: 'utf8' });
    expect([result.status, result.stderr]).toEqual([3, '']);
    expect(spawnSync('ls', ['-A', parent], { encoding: 'utf8' }).stdout).toBe('');
  });
});
