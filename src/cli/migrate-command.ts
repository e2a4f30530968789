import type { Command } from 'commander';
import { AvocadoError } from '../base/errors.ts';
import { databaseMistake } from '../settings/job-settings.ts';
import { addSettingFlags, readFlags, type Flags } from './flags.ts';
import { write } from './terminal.ts';
import type { CliEnvironment } from './cli-environment.ts';

function wrong(sentence: string): AvocadoError {
  return new AvocadoError('bad_request', sentence, { param: 'database' });
}

export function addMigrateCommand(program: Command, environment: CliEnvironment): void {
  const command = program
    .command('migrate')
    .description('makes and changes the tables of jobs in a PostgreSQL, as a server would at its start');
  addSettingFlags(command, ['databaseUrl']).action(async (flags: Flags) => {
    const { databaseUrl } = await readFlags(['databaseUrl'], flags, environment);
    if (databaseUrl === undefined) throw wrong('Which PostgreSQL? Give --database URL.');
    const mistake = databaseMistake(databaseUrl);
    if (mistake !== undefined) throw wrong(mistake);
    const { before, after } = await environment.migrate(databaseUrl);
    const done = before === after ? 'nothing was to be done' : `steps ${before + 1} to ${after} were applied`;
    await write(environment.stdout, `The tables of jobs are at step ${after}: ${done}.\n`);
  });
}
