import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

it('`npm run build` in a clone without dependencies says what to do', () => {
  const clone = mkdtempSync(join(tmpdir(), 'avocado-clone-'));
  try {
    for (const name of ['package.json', 'package-lock.json', 'src/setup'])
      cpSync(join(ROOT, name), join(clone, name), { recursive: true });
    const script = join(clone, 'src/setup/set-up.mjs');
    const { status, stderr } = spawnSync(process.execPath, [script, '--build-only'], { encoding: 'utf8' });
    expect([status, stderr]).toEqual([
      6,
      'set-up: The dependencies are not installed. Run `npm ci` first, then run the command again.\n',
    ]);
  } finally {
    rmSync(clone, { recursive: true });
  }
});
