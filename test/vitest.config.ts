import { fileURLToPath } from 'node:url';
import { defineConfig, type TestProjectConfiguration } from 'vitest/config';
import { SummaryReporter } from './summary-reporter.ts';

const MINUTE = 60_000;

interface Tier {
  readonly name: string;
  /** test files that run at the same time */
  readonly workers: number;
  /** far above what a test takes on an idle machine: no test is to fail because the machine is busy */
  readonly timeout: number;
  /** a module that is run once before the tier */
  readonly setup?: string;
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
  { name: 'integration', workers: 2, timeout: 5 * MINUTE, setup: 'test/fixtures/built-cli.ts' },
  { name: 'parity', workers: 2, timeout: 10 * MINUTE },
  { name: 'stress', workers: 1, timeout: 10 * MINUTE },
  { name: 'gpu', workers: 1, timeout: 5 * MINUTE },
];

function project({ name, workers, timeout, setup }: Tier, groupOrder: number): TestProjectConfiguration {
  return {
    extends: true,
    test: {
      name,
      include: [`test/${name}/**/*.test.ts`],
      maxWorkers: workers,
      // Unit tests share their modules between files: half of the time went into loading them anew.
      isolate: name !== 'unit',
      sequence: { groupOrder },
      testTimeout: timeout,
      hookTimeout: timeout,
      globalSetup: setup === undefined ? [] : [setup],
    },
  };
}

export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  test: {
    projects: TIERS.map(project),
    reporters: ['default', new SummaryReporter()],
    env: { ORT_DISABLE_TELEMETRY: '1' },
    pool: 'forks',
    teardownTimeout: 20_000,
  },
});
