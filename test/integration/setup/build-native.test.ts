// Runs the real script in the real tree, with broken compilers through PATH and CXX. It must never fail an install.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { loadNative, nativeStatus } from '../../../src/base/native.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const ADDON = join(ROOT, 'native/build/avocado.node');
const scratch = mkdtempSync(join(tmpdir(), 'avocado-build-'));
afterAll(() => {
  rmSync(scratch, { recursive: true });
});

function build(env: NodeJS.ProcessEnv, ...args: string[]): { status: number | null; stderr: string } {
  const { status, stderr } = spawnSync(process.execPath, [join(ROOT, 'src/setup/build-native.mjs'), ...args], {
    env: { ...process.env, ...env },
    encoding: 'utf8',
  });
  return { status, stderr };
}

const canBuild =
  process.platform === 'linux' && ['g++', 'clang++', 'c++'].some((name) => spawnSync(name, ['--version']).status === 0);
if (!canBuild)
  console.warn('Skipped: test/integration/setup/build-native.test.ts. This machine has no C++ compiler for the addon.');

describe.skipIf(!canBuild)('build-native', () => {
  it('builds an addon that loads, and has nothing to do the second time', () => {
    expect(build({}, '--strict')).toEqual({ status: 0, stderr: '' });
    expect(nativeStatus()).toEqual({ loaded: true, path: ADDON });
    expect(loadNative()).toBeDefined();
    const { mtimeMs } = statSync(ADDON);
    expect(build({}, '--strict')).toEqual({ status: 0, stderr: '' });
    expect(statSync(ADDON).mtimeMs).toBe(mtimeMs);
  });

  it('needs no compiler when the addon is up to date', () => {
    expect(build({ PATH: scratch, CXX: '' }, '--strict')).toEqual({ status: 0, stderr: '' });
  });

  it("prints the compiler's words and goes on when the addon does not compile; with --strict it fails", () => {
    const broken = join(scratch, 'broken-compiler');
    writeFileSync(
      broken,
      '#!/bin/sh\ncase "$1" in --version) echo broken 1.0;; *) echo "no such header" >&2; exit 1;; esac\n',
    );
    chmodSync(broken, 0o755);
    const { mtimeMs } = statSync(ADDON);
    const lenient = build({ CXX: broken });
    expect(lenient.status).toBe(0);
    expect(lenient.stderr).toContain('no such header');
    expect(lenient.stderr).toContain('the portable runtime will be used');
    expect(build({ CXX: broken }, '--strict').status).toBe(1);
    // What was there stays.
    expect(existsSync(ADDON) && statSync(ADDON).mtimeMs).toBe(mtimeMs);
  });
});
