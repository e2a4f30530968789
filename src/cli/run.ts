import { CommanderError } from 'commander';
import { buildProgram } from './program.ts';
import { reportError } from './report-error.ts';
import { Outcome, type Wiring } from './wiring.ts';

/**
 * One command line, from its arguments to its exit code (0, or the `exit` column of src/errors.ts).
 * @param args without node and the script
 */
export async function run(args: readonly string[], wiring: Wiring): Promise<number> {
  const outcome = new Outcome();
  const program = buildProgram(wiring, outcome);
  if (args.length === 0) {
    program.outputHelp();
    return 0;
  }
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (thrown) {
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return 0; // --help, --version
    // Flags may not have been read yet, so --json is looked for among the words.
    outcome.fail(await reportError(thrown, wiring, { json: args.includes('--json') }));
  }
  return outcome.exitCode;
}
