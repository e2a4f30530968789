import { Command, CommanderError } from 'commander';
import { packageVersion } from '../base/package-files.ts';
import { addBatchCommand } from './batch-command.ts';
import { addBenchCommand } from './bench-command.ts';
import { addCaptionCommand } from './caption-command.ts';
import { ExitStatus, type CliEnvironment } from './cli-environment.ts';
import { addCurateCommand } from './curate-command.ts';
import { addDoctorCommand } from './doctor-command.ts';
import { addEvaluateCommand } from './evaluate-command.ts';
import { addExportCommand } from './export-command.ts';
import { refuseEmpty } from './flag-values.ts';
import { addInspectCommand } from './inspect-command.ts';
import { addMigrateCommand } from './migrate-command.ts';
import { addRewardCommand } from './reward-command.ts';
import { addSampleCommand } from './sample-command.ts';
import { addServeCommand } from './serve-command.ts';
import { reportError } from './terminal.ts';

function buildProgram(environment: CliEnvironment, status: ExitStatus): Command {
  const program = new Command('avocado')
    .description('Video captions that tell what is seen and heard, in order of time.')
    .version(packageVersion())
    .exitOverride()
    .configureOutput({
      writeOut: (text) => environment.stdout.write(text),
      outputError: () => undefined, // reportError writes each error once, with its code
      writeErr: (text) => environment.stdout.write(text), // the help of a command that needs another word
    })
    .hook('preAction', (_program, command) => {
      refuseEmpty(command);
    });
  addCaptionCommand(program, environment, status);
  addBatchCommand(program, environment, status);
  addInspectCommand(program, environment);
  addExportCommand(program, environment);
  addServeCommand(program, environment);
  addMigrateCommand(program, environment);
  addSampleCommand(program, environment);
  addBenchCommand(program, environment, status);
  addRewardCommand(program, environment, status);
  addEvaluateCommand(program, environment, status);
  addCurateCommand(program, environment, status);
  addDoctorCommand(program, environment, status);
  return program;
}

/**
 * One command line, from its arguments to its exit code (0, or the `exit` column of base/errors.ts).
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
    // --help, --version, and a command that only has commands
    if (thrown instanceof CommanderError && (thrown.exitCode === 0 || thrown.code === 'commander.help')) return 0;
    // The flags may not have been parsed yet, so --json is looked for among the arguments.
    status.stop(await reportError(thrown, environment, { json: args.includes('--json') }));
  }
  return status.exitCode;
}
