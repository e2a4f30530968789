import type { Command } from 'commander';
import { ERRORS } from '../base/errors.ts';
import { defaultModelDirectory } from './default-model.ts';
import { canCaption, diagnosisTable, firstAdvice } from './diagnosis.ts';
import { write, writeJson } from './write.ts';
import type { Outcome, Wiring } from './wiring.ts';

export function addDoctorCommand(program: Command, wiring: Wiring, outcome: Outcome): void {
  program
    .command('doctor')
    .description('what this machine has, what it lacks, and what to do about it')
    .option('--model <dir>', 'checkpoint or export directory', defaultModelDirectory())
    .option('--json', 'one JSON object on stdout, nothing else', false)
    .action(async (flags: { readonly model: string; readonly json: boolean }) => {
      const diagnosis = await wiring.diagnose(flags.model);
      const ok = canCaption(diagnosis);
      if (flags.json) await writeJson(wiring.stdout, { ok, checks: diagnosis.checks });
      else
        await write(
          wiring.stdout,
          `${diagnosisTable(diagnosis)}${ok ? 'Captions can be made.' : `No captions yet. ${firstAdvice(diagnosis)}`}\n`,
        );
      // What the machine lacks has one exit code, whichever part it is.
      if (!ok) outcome.fail(ERRORS.ffmpeg_missing.exit);
    });
}
