import type { Command } from 'commander';
import { ERRORS } from '../base/errors.ts';
import type { Check, Diagnosis } from './diagnose.ts';
import { addSettingFlags, readFlags, type Flags } from './flags.ts';
import { write, writeJson } from './terminal.ts';
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
      const conclusion = ok ? 'Captions can be made.' : `No captions yet. ${firstAdvice(diagnosis)}`;
      if (flags['json'] === true) await writeJson(environment.stdout, { ok, checks: diagnosis.checks });
      else await write(environment.stdout, `${diagnosisTable(diagnosis)}${conclusion}\n`);
      // One exit code for anything the machine lacks.
      if (!ok) status.fail(ERRORS.ffmpeg_missing.exit);
    });
}

function canCaption({ checks }: Diagnosis): boolean {
  return checks.every(({ ok, needed }) => ok || !needed);
}

/** The first thing to do, in one sentence. */
function firstAdvice({ checks }: Diagnosis): string {
  const missing = checks.find(({ ok, needed }) => needed && !ok);
  return missing === undefined ? '' : `${missing.name}: ${missing.advice ?? missing.value}`;
}

function mark({ ok, needed }: Check): string {
  if (ok) return 'ok  ';
  return needed ? 'MISS' : 'none';
}

/** For people: one line a check, advice below it. */
function diagnosisTable(diagnosis: Diagnosis): string {
  const width = Math.max(...diagnosis.checks.map(({ name }) => name.length));
  const lines = diagnosis.checks.map((check) => {
    const advice = check.ok || check.advice === undefined ? '' : `\n      ${' '.repeat(width)}→ ${check.advice}`;
    return `${mark(check)}  ${check.name.padEnd(width)}  ${check.value}${advice}\n`;
  });
  return lines.join('');
}
