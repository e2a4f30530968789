import type { Command } from 'commander';
import { ERRORS } from '../base/errors.ts';
import { canCaption, diagnosisTable, firstAdvice } from './diagnosis.ts';
import { addSettingFlags, readFlags, type Flags } from './flags.ts';
import { write, writeJson } from './write.ts';
import type { ExitStatus, CliEnvironment } from './cli-environment.ts';

export function addDoctorCommand(program: Command, environment: CliEnvironment, status: ExitStatus): void {
  const command = program
    .command('doctor')
    .description('what this machine has, what it lacks, and what to do about it');
  addSettingFlags(command, ['modelDir'])
    .option('--json', 'one JSON object on stdout, nothing else', false)
    .action(async (flags: Flags) => {
      const { modelDir } = await readFlags(['modelDir'], flags, environment);
      const diagnosis = await environment.diagnose(modelDir);
      const ok = canCaption(diagnosis);
      if (flags['json'] === true) await writeJson(environment.stdout, { ok, checks: diagnosis.checks });
      else
        await write(
          environment.stdout,
          `${diagnosisTable(diagnosis)}${ok ? 'Captions can be made.' : `No captions yet. ${firstAdvice(diagnosis)}`}\n`,
        );
      // What the machine lacks has one exit code, whichever part it is.
      if (!ok) status.fail(ERRORS.ffmpeg_missing.exit);
    });
}
