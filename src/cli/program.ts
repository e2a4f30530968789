import { Command } from 'commander';
import { addBenchCommand } from './bench-command.ts';
import { addCaptionCommand } from './caption-command.ts';
import { addDoctorCommand } from './doctor-command.ts';
import { addExportCommand } from './export-command.ts';
import { addInspectCommand } from './inspect-command.ts';
import { packageVersion } from '../base/package-files.ts';
import { addRewardCommand } from './reward-command.ts';
import { addSampleCommand } from './sample-command.ts';
import { addServeCommand } from './serve-command.ts';
import type { ExitStatus, CliEnvironment } from './cli-environment.ts';

/** The command line as commander sees it; every command in a file of its own. */
export function buildProgram(environment: CliEnvironment, status: ExitStatus): Command {
  const program = new Command('avocado')
    .description('Video captions that tell what is seen and heard, in order of time.')
    .version(packageVersion())
    .exitOverride()
    .configureOutput({
      writeOut: (text) => environment.stdout.write(text),
      writeErr: () => undefined, // told once, with its code, by reportError
    });
  addCaptionCommand(program, environment, status);
  addInspectCommand(program, environment);
  addExportCommand(program, environment);
  addServeCommand(program, environment);
  addSampleCommand(program, environment);
  addBenchCommand(program, environment, status);
  addRewardCommand(program, environment);
  addDoctorCommand(program, environment, status);
  return program;
}
