import { CommanderError } from 'commander';
import { buildProgram } from './program.ts';
import { reportError } from './report-error.ts';
import { ExitStatus, type CliEnvironment } from './cli-environment.ts';

/**
 * One command line, from its arguments to its exit code (0, or the `exit` column of src/errors.ts).
 * @param args without node and the script
 */
export async function run(args: readonly string[], environment: CliEnvironment): Promise<number> {
  const status = new ExitStatus();
  const program = buildProgram(environment, status);
  if (args.length === 0) {
    program.outputHelp();
    return 0;
  }
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (thrown) {
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return 0; // --help, --version
    // Flags may not have been read yet, so --json is looked for among the words.
    status.fail(await reportError(thrown, environment, { json: args.includes('--json') }));
  }
  return status.exitCode;
}
