// Clean-up after processes that died or exit, with real processes.
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import process from 'node:process';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AvocadoError } from '../../../src/base/errors.ts';
import { openTemporaryStorage, type TemporaryStorage } from '../../../src/storage/temporary-storage.ts';

let parent: string;
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'avocado-test-'));
});
afterEach(async () => {
  await rm(parent, { recursive: true, force: true });
});

function openStorage(): Promise<TemporaryStorage> {
  return openTemporaryStorage({ temporaryDirectory: parent, maxTemporaryBytes: 1000 });
}

/** The name of the storage's directory. */
async function directoryOf(storage: TemporaryStorage): Promise<string> {
  const tooLarge = (): AvocadoError => new AvocadoError('media_too_large', 'Too large.');
  const { path } = await storage.save(Readable.from([]), { name: '', maxBytes: 1, tooLarge });
  return basename(dirname(path));
}

describe('the temporary directory', () => {
  it('of a dead process of this host is deleted; everything else stays', async () => {
    const dead = spawnSync(process.execPath, ['-e', '']).pid;
    const host = hostname().replace(/[^A-Za-z0-9-]/g, '_');
    const prefix = `avocado-intake.${host}`;
    const earlierSelf = `${prefix}.${process.pid}.1000.abc`;
    const living = `${prefix}.${process.ppid}.1000.abc`;
    const names = [
      `${prefix}.${dead}.1000.abc`,
      earlierSelf,
      living,
      `avocado-intake.other-host.${dead}.1000.abc`,
      `${prefix}.x`,
      'avocado-intake',
      'unrelated',
    ];
    for (const name of names) await mkdir(join(parent, name));
    const first = await openStorage();
    const second = await openStorage();
    const own = [await directoryOf(first), await directoryOf(second)];
    expect((await readdir(parent)).sort()).toEqual([...names.slice(2), ...own].sort());
    await first.close();
    await second.close();
  });

  it('is removed when the process exits without closing it', () => {
    const module = new URL('../../../src/storage/temporary-storage.ts', import.meta.url).href;
    const config = { temporaryDirectory: parent, maxTemporaryBytes: 1 };
    const script = `import { openTemporaryStorage } from ${JSON.stringify(module)};
      await openTemporaryStorage(${JSON.stringify(config)}); process.exit(3);`;
    const result = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      encoding: 'utf8',
    });
    expect([result.status, result.stderr]).toEqual([3, '']);
    expect(spawnSync('ls', ['-A', parent], { encoding: 'utf8' }).stdout).toBe('');
  });
});
