// What the commands write: results to stdout, progress, warnings and errors to stderr.
import type { Writable } from 'node:stream';
import { CommanderError } from 'commander';
import { asAvocadoError, AvocadoError, ERRORS } from '../base/errors.ts';
import { errorAnswer } from '../output/caption-answer.ts';
import type { CliEnvironment } from './cli-environment.ts';

/**
 * Writes and waits until the text is out, so that a slow reader slows the program down. A reader that has closed the
 * stream is no error here: the stream reports that itself.
 */
export function write(stream: Writable, text: string): Promise<void> {
  return new Promise((resolve) => {
    stream.write(text, () => {
      resolve();
    });
  });
}

export function writeJson(stream: Writable, value: unknown): Promise<void> {
  return write(stream, `${JSON.stringify(value)}\n`);
}

export async function warn(stderr: Writable, sentences: readonly string[]): Promise<void> {
  for (const sentence of sentences) await write(stderr, `warning: ${sentence}\n`);
}

const CLEAR_LINE = '\r\u001b[2K';

/** Progress on stderr: one line that is rewritten on a terminal, plain lines in a log, nothing for a script. */
export class ProgressLine {
  readonly #stderr: Writable;
  readonly #mode: 'rewrite' | 'lines' | 'off';
  #shown = '';
  #text = '';

  constructor({ stderr, stderrIsTerminal }: CliEnvironment, { verbose }: { readonly verbose: boolean }) {
    this.#stderr = stderr;
    this.#mode = stderrIsTerminal ? 'rewrite' : verbose ? 'lines' : 'off';
  }

  /** `done` of `total` of something; a log gets one line for each text, without the numbers. */
  readonly show = (text: string, done = 0, total = 0): void => {
    if (this.#mode === 'off') return;
    const shown = total > 1 ? `${text} ${done}/${total}` : text;
    if (shown === this.#shown) return;
    if (this.#mode === 'rewrite') this.#stderr.write(`${CLEAR_LINE}${shown} …`);
    else if (text !== this.#text) this.#stderr.write(`${text}\n`);
    this.#shown = shown;
    this.#text = text;
  };

  /** Makes room for other text. */
  readonly clear = (): void => {
    if (this.#mode === 'rewrite' && this.#shown !== '') this.#stderr.write(CLEAR_LINE);
    this.#shown = '';
    this.#text = '';
  };

  /** A line that stays. */
  note(text: string): void {
    if (this.#mode !== 'off') this.tell(text);
  }

  /** A line that stays, also for a script. */
  readonly tell = (text: string): void => {
    this.clear();
    this.#stderr.write(`${text}\n`);
  };
}

/** Anything a command threw, as an error with a code. What commander throws is a mistake in the command line. */
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
 * One sentence on stderr; with --json also the error as an object on stdout, so that scripts read one stream only.
 * @returns the exit code of the error table
 */
export async function reportError(
  thrown: unknown,
  environment: CliEnvironment,
  options: { readonly json: boolean; readonly file?: string },
): Promise<number> {
  const error = cliError(thrown);
  const { file } = options;
  // `| head` has read enough: the user wanted it to stop.
  if (error.code === 'aborted' && environment.stdoutIsGone()) return ERRORS.aborted.exit;
  await write(environment.stderr, `error [${error.code}]: ${error.message}\n`);
  if (error.code === 'internal' && error.cause instanceof Error && error.cause.stack !== undefined)
    await write(environment.stderr, `${error.cause.stack}\n`);
  if (options.json)
    await writeJson(environment.stdout, { ...(file === undefined ? {} : { file }), ...errorAnswer(error) });
  return ERRORS[error.code].exit;
}
