import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { defineConfig, type Plugin, type TestProjectConfiguration } from 'vitest/config';
import { SummaryReporter } from './summary-reporter.ts';

const MINUTE = 60_000;

interface Tier {
  readonly name: string;
  /** test files that run at the same time */
  readonly workers: number;
  /** far above what a test takes on an idle machine: no test is to fail because the machine is busy */
  readonly timeout: number;
}

/**
 * The tiers run one after the other. A stress test uses every core, so those run one at a time.
 * - unit: no model, no process, no server; the whole tier takes seconds.
 * - integration: real ffmpeg, real sockets, real processes, the bundled model.
 * - parity: token for token and number for number what the reference implementation gives.
 * - stress: kills, leavers, fuzzing, many requests; AVOCADO_STRESS=long runs the long forms.
 * - gpu: needs an NVIDIA GPU, and says so where there is none.
 */
const TIERS: readonly Tier[] = [
  { name: 'unit', workers: 2, timeout: MINUTE },
  { name: 'integration', workers: 3, timeout: 5 * MINUTE },
  { name: 'parity', workers: 2, timeout: 10 * MINUTE },
  { name: 'stress', workers: 1, timeout: 10 * MINUTE },
  { name: 'gpu', workers: 1, timeout: 5 * MINUTE },
];

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const SOURCES = resolve(ROOT, 'src');
const COMPILED = resolve(ROOT, 'dist');

/** Exports of the models under test, made once a run and removed after it (built-cli.ts). */
process.env['AVOCADO_CACHE'] = join(tmpdir(), `avocado-tests-${process.pid}`);

/**
 * Every tier but unit imports the compiled program: what is tested is what is shipped, and its worker threads and
 * processes start without translating TypeScript first, which cost more than many a test.
 */
const compiledProgram: Plugin = {
  name: 'compiled-program',
  enforce: 'pre',
  resolveId(source, importer) {
    if (importer === undefined || !source.endsWith('.ts')) return null;
    const path = resolve(dirname(importer), source);
    if (!path.startsWith(`${SOURCES}/`)) return null;
    return { id: `${COMPILED}${path.slice(SOURCES.length, -'.ts'.length)}.js`, external: true };
  },
};

function project({ name, workers, timeout }: Tier, groupOrder: number): TestProjectConfiguration {
  const isUnit = name === 'unit';
  return {
    extends: true,
    plugins: isUnit ? [] : [compiledProgram],
    test: {
      name,
      include: [`test/${name}/**/*.test.ts`],
      maxWorkers: workers,
      // Files share their process and its modules: half of the time went into loading them anew.
      isolate: false,
      sequence: { groupOrder },
      testTimeout: timeout,
      hookTimeout: timeout,
      setupFiles: ['test/fixtures/patient-waits.ts'],
      globalSetup: isUnit ? [] : ['test/fixtures/built-cli.ts'],
      server: { deps: { external: [new RegExp(`^${COMPILED}/`)] } },
    },
  };
}

export default defineConfig({
  root: ROOT,
  test: {
    projects: TIERS.map(project),
    reporters: ['default', new SummaryReporter()],
    env: { ORT_DISABLE_TELEMETRY: '1' },
    expect: { poll: { timeout: 30_000 } },
    pool: 'forks',
    teardownTimeout: 20_000,
  },
});
