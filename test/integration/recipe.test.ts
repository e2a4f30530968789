// Runs the Python tests of the training recipe: the scorer and the reward client, and the generator if torch is
// installed.
import { execFile, execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const RECIPE = fileURLToPath(new URL('../../models/avocado-nano/recipe', import.meta.url));
/** The reward fixtures that the TypeScript tests use too. */
const GOLDEN = fileURLToPath(new URL('../fixtures/rewards', import.meta.url));
/** All of them take about a minute on one core; without torch, seconds. */
const TIMEOUT_MS = 15 * 60_000;

/** Why the tests cannot run here; undefined = they can. Their conftest.py leaves out files that need more packages. */
function obstacle(): string | undefined {
  try {
    execFileSync('python3', ['-c', 'import pytest'], { encoding: 'utf8', stdio: 'pipe' });
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no python3' : 'python3 has no pytest';
  }
}

const reason = obstacle();
if (reason !== undefined)
  console.log(
    `recipe.test.ts is skipped: ${reason}. Run: pip install pytest numpy pillow safetensors tokenizers torch`,
  );

it.skipIf(reason !== undefined)(
  'the recipe’s Python tests pass',
  async () => {
    const { code, output } = await new Promise<{ readonly code: number | null; readonly output: string }>((resolve) => {
      const child = execFile(
        'python3',
        ['-m', 'pytest', '-q', '-rs', '-p', 'no:cacheprovider', 'tests'],
        {
          cwd: RECIPE,
          // one thread: torch's threads would slow each other and the tests beside them down
          env: { ...process.env, AVOCADO_GOLDEN: GOLDEN, PYTHONDONTWRITEBYTECODE: '1', OMP_NUM_THREADS: '1' },
          timeout: TIMEOUT_MS,
        },
        (_error, stdout, stderr) => {
          resolve({ code: child.exitCode, output: `${stdout}${stderr}` });
        },
      );
    });
    const summary = output.split('\n').filter((line) => /^(SKIPPED|NOT RUN|\d+ passed)/.test(line));
    console.log(`pytest in models/avocado-nano/recipe:\n${summary.join('\n')}`);
    expect(code, output).toBe(0);
  },
  TIMEOUT_MS + 60_000,
);
