// Readers of the values of flags: addresses of servers, and paths, so that a wrong one is told before any work.
import { statSync, type Stats } from 'node:fs';
import { InvalidArgumentError, type Command } from 'commander';
import { baseUrlOf } from '../base/base-url.ts';
import { AvocadoError } from '../base/errors.ts';

/** The base URL of an OpenAI-compatible server, without a slash at its end. */
export function baseUrl(text: string): string {
  const url = baseUrlOf(text);
  if (url !== undefined) return url;
  throw new InvalidArgumentError(
    'It must be the base URL of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1.',
  );
}

/** The URL of a server of ours; as OpenAI's clients write it, with /v1, it means the same. */
export function serverAddress(text: string): string {
  const url = baseUrlOf(text)?.replace(/\/+v1$/, '');
  if (url !== undefined) return url;
  throw new InvalidArgumentError('It must be the URL of a server, such as http://127.0.0.1:8080.');
}

function found(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch (thrown) {
    const { code = String(thrown) } = thrown as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new InvalidArgumentError(`It cannot be looked at (${code}).`);
  }
}

/** A directory that is there. */
export function inputDirectory(path: string): string {
  const stats = found(path);
  if (stats === undefined) throw new InvalidArgumentError('There is no such directory.');
  if (!stats.isDirectory()) throw new InvalidArgumentError('It is no directory.');
  return path;
}

/** A directory that is there, or can be made. */
export function outputDirectory(path: string): string {
  if (found(path)?.isDirectory() === false) throw new InvalidArgumentError('It is no directory.');
  return path;
}

/** A file, or a pipe, that is there. */
export function inputFile(path: string): string {
  const stats = found(path);
  if (stats === undefined) throw new InvalidArgumentError('There is no such file.');
  if (stats.isDirectory()) throw new InvalidArgumentError('It is a directory, not a file.');
  return path;
}

const NEVER_EMPTY = /<(dir|file|url|name|name=dir)>/;

/**
 * An empty path means the working directory to many functions of the system. It is mostly a variable that is not set.
 * @throws AvocadoError `bad_request`
 */
export function refuseEmpty(command: Command): void {
  const refuse = (what: string): never => {
    throw new AvocadoError('bad_request', `${what} is empty. Is a variable of your shell not set?`);
  };
  if (command.args.includes('')) refuse(`An argument of avocado ${command.name()}`);
  for (const option of command.options.filter(({ flags }) => NEVER_EMPTY.test(flags)))
    if ([command.getOptionValue(option.attributeName())].flat().includes('')) refuse(String(option.long));
}
