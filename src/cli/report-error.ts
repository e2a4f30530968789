import { CommanderError } from 'commander';
import { asAvocadoError, AvocadoError, ERRORS } from '../base/errors.ts';
import { errorAnswer } from '../output/caption-answer.ts';
import { write, writeJson } from './write.ts';
import type { CliEnvironment } from './cli-environment.ts';

/** Whatever a command threw as an error with a code. Commander's own complaints are mistakes in the request. */
function cliError(thrown: unknown): AvocadoError {
  if (!(thrown instanceof CommanderError)) return asAvocadoError(thrown);
  const sentence = thrown.message
    .replace(/^error: /, '')
    .replace(/\s*\n\s*/g, ' ')
    .replace(/\.?$/, '.');
  const flag = /'(?:-\w, )?--([a-z-]+)/.exec(sentence)?.[1];
  return new AvocadoError('bad_request', `${sentence} See avocado --help.`, {
    cause: thrown,
    ...(flag === undefined ? {} : { param: flag.replaceAll('-', '_') }),
  });
}

/**
 * One sentence on stderr; with --json the same error as an object on stdout, so that scripts read one stream only.
 * @returns the exit code of the error table
 */
export async function reportError(
  thrown: unknown,
  environment: CliEnvironment,
  options: { readonly json: boolean; readonly file?: string },
): Promise<number> {
  const error = cliError(thrown);
  const { file } = options;
  // `| head` has read enough: stopping is what was wanted.
  if (error.code === 'aborted' && environment.stdoutIsGone()) return ERRORS.aborted.exit;
  await write(environment.stderr, `error [${error.code}]: ${error.message}\n`);
  if (error.code === 'internal' && error.cause instanceof Error && error.cause.stack !== undefined)
    await write(environment.stderr, `${error.cause.stack}\n`);
  if (options.json)
    await writeJson(environment.stdout, { ...(file === undefined ? {} : { file }), ...errorAnswer(error) });
  return ERRORS[error.code].exit;
}
