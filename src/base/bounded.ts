// Foreign input in bounded time and memory: files of a model directory, and code that they bring.
import { readFile, stat } from 'node:fs/promises';
import { createContext, Script, type Context } from 'node:vm';
import { withoutMark } from './byte-order-mark.ts';
import { AvocadoError } from './errors.ts';

/** The largest text file of a published checkpoint, a tokenizer.json, has 11 MB. */
const MAX_TEXT_BYTES = 256 * 1024 ** 2;

/**
 * The text of a regular file, without a byte order mark. A pipe or a device would be waited for without end, so
 * neither is opened.
 * @returns undefined when there is no such file
 * @throws Error whose message says why it cannot be read, as the end of a sentence
 */
export async function readTextFile(path: string): Promise<string | undefined> {
  try {
    const found = await stat(path);
    if (!found.isFile()) throw new TypeError(found.isDirectory() ? 'it is a directory' : 'it is not a regular file');
    if (found.size > MAX_TEXT_BYTES) throw new RangeError(`it has more than ${MAX_TEXT_BYTES} bytes`);
    return withoutMark(await readFile(path, 'utf8'));
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw code === undefined ? thrown : new Error(`its permissions or its disk do not allow it (${code})`);
  }
}

/**
 * As readTextFile, of a file of a model directory.
 * @throws AvocadoError `checkpoint_invalid` when it cannot be read
 */
export async function readModelText(path: string): Promise<string | undefined> {
  try {
    return await readTextFile(path);
  } catch (cause) {
    const reason = (cause as Error).message;
    throw new AvocadoError('checkpoint_invalid', `${path} cannot be read: ${reason}. Replace it.`, { cause });
  }
}

/** Node can only interrupt what it runs itself, and everything that this calls. */
let limiter: { readonly context: Context; readonly script: Script } | undefined;

/**
 * Runs synchronous work, and stops it wherever it is when the time is over: regular expressions and templates of a
 * checkpoint can run without end.
 * @throws Error when it took too long; errors of `work` pass
 */
export function withTimeLimit<Result>(milliseconds: number, work: () => Result): Result {
  limiter ??= { context: createContext({}), script: new Script('run()') };
  const { context, script } = limiter;
  let result: { readonly value: Result } | undefined;
  context['run'] = (): void => {
    result = { value: work() };
  };
  try {
    script.runInContext(context, { timeout: milliseconds });
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw thrown;
    throw new RangeError(`it takes longer than ${milliseconds / 1000} s`, { cause: thrown });
  } finally {
    context['run'] = undefined;
  }
  if (result === undefined) throw new Error('Limited work ended without a result. This is a bug.');
  return result.value;
}
