import { openSync, createWriteStream } from 'node:fs';
import { AvocadoError } from '../../../base/errors.ts';

/** One question and its answer as they travelled. */
export interface JudgeRecordLine {
  readonly question: Readonly<Record<string, unknown>>;
  /** body of the answer, thoughts included */
  readonly answer: string;
}

/** A video in a question would be most of the log, and is at hand elsewhere. */
function withoutMedia(_key: string, value: unknown): unknown {
  return typeof value === 'string' && value.startsWith('data:') ? `data: URL of ${value.length} characters` : value;
}

/**
 * Appends every answer of a judge to a file of JSON lines, from which all scores can be computed again.
 * @throws AvocadoError `bad_request`
 */
export function openJudgeLog(path: string, onFault: (sentence: string) => void): (line: JudgeRecordLine) => void {
  let fd: number;
  try {
    fd = openSync(path, 'a');
  } catch (cause) {
    throw new AvocadoError(
      'bad_request',
      `--judge-log ${path} cannot be written (${(cause as NodeJS.ErrnoException).code ?? String(cause)}).`,
      { param: 'judge_log', cause },
    );
  }
  const log = createWriteStream(path, { fd });
  log.once('error', (error) => {
    onFault(`--judge-log ${path} is no longer written: ${error.message}`);
  });
  log.on('error', () => undefined);
  return (line) => {
    log.write(`${JSON.stringify({ time: new Date().toISOString(), ...line }, withoutMedia)}\n`);
  };
}
