import { Command } from 'commander';
import { addBenchCommand } from './bench-command.ts';
import { addCaptionCommand } from './caption-command.ts';
import { addDoctorCommand } from './doctor-command.ts';
import { addExportCommand } from './export-command.ts';
import { addInspectCommand } from './inspect-command.ts';
import { packageVersion } from './package-version.ts';
import { addRewardCommand } from './reward-command.ts';
import { addSampleCommand } from './sample-command.ts';
import { addServeCommand } from './serve-command.ts';
import type { Outcome, Wiring } from './wiring.ts';

/** The command line as commander sees it; every command in a file of its own. */
export function buildProgram(wiring: Wiring, outcome: Outcome): Command {
  const program = new Command('avocado')
    .description('Video captions that tell what is seen and heard, in order of time.')
    .version(packageVersion())
    .exitOverride()
    .configureOutput({
      writeOut: (text) => wiring.stdout.write(text),
      writeErr: () => undefined, // told once, with its code, by reportError
    });
  addCaptionCommand(program, wiring, outcome);
  addInspectCommand(program, wiring);
  addExportCommand(program, wiring);
  addServeCommand(program, wiring);
  addSampleCommand(program, wiring);
  addBenchCommand(program, wiring, outcome);
  addRewardCommand(program, wiring);
  addDoctorCommand(program, wiring, outcome);
  return program;
}
