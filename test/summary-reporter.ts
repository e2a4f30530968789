import type { Reporter, SerializedError, TestCase, TestModule } from 'vitest/node';

/** Why a test did not run: the note of `context.skip`, or the title of the outermost suite, which says so. */
function reasonOf(test: TestCase): string {
  const result = test.result();
  if (result.state === 'skipped' && result.note !== undefined) return result.note;
  const [suite = test.name] = test.fullName.split(' > ');
  return /\(skipped: (.*)\)/.exec(test.fullName)?.[1] ?? suite;
}

/** One line for each reason in each file. */
function linesOfSkipped(module: TestModule): string[] {
  const reasons = new Map<string, number>();
  for (const test of module.children.allTests('skipped')) {
    const reason = reasonOf(test);
    reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  }
  return [...reasons].map(([reason, count]) => `skipped ${count} in ${module.relativeModuleId}: ${reason}`);
}

/** Prints why tests were skipped, and the closing line that any CI can read: how many passed, failed, were skipped. */
export class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    // An error outside of every test fails the run as well.
    const counts = { passed: 0, failed: unhandledErrors.length, skipped: 0 };
    for (const module of modules) {
      if (module.errors().length > 0) counts.failed += 1;
      // A failed beforeAll leaves its tests skipped: without this line that would read as nothing failed.
      for (const suite of module.children.allSuites()) if (suite.errors().length > 0) counts.failed += 1;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === 'passed') counts.passed += 1;
        else if (state === 'failed') counts.failed += 1;
        else counts.skipped += 1;
      }
    }
    const skipped = modules.flatMap(linesOfSkipped);
    const summary = `${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`;
    process.on('exit', () => {
      process.stdout.write(`\n${[...skipped, summary].join('\n')}\n`);
    });
  }
}
