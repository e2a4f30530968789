import { createWriteStream, openSync } from 'node:fs';
import { AvocadoError } from '../../../base/errors.ts';
import type { JudgeExchange } from './chat-endpoint.ts';
import type { Judge } from './judge.ts';

interface JudgeOptions {
  /** `world`, or the base URL of an OpenAI-compatible server */
  readonly judge: string;
  readonly model: string | undefined;
  readonly apiKey: string | undefined;
  /** maximum number of concurrent questions */
  readonly concurrency: number;
  /** of one attempt */
  readonly timeoutMs: number;
  /** the model accepts `video_url` parts */
  readonly seesVideo: boolean;
  /** directory of prompts; undefined = the built-in ones */
  readonly prompts: string | undefined;
  /** file to which all replies are appended */
  readonly log: string | undefined;
  readonly onWarning: (sentence: string) => void;
}

/**
 * Opens the judge that the options name; loads only the code that this judge needs.
 * @throws AvocadoError `bad_request`
 */
export async function openJudge({
  judge,
  model,
  prompts,
  seesVideo,
  log,
  onWarning,
  ...options
}: JudgeOptions): Promise<Judge> {
  if (judge === 'world') return (await import('./world-judge.ts')).worldJudge();
  if (model === undefined)
    throw new AvocadoError('bad_request', `--judge ${judge} needs --judge-model: name the model to ask there.`, {
      param: 'judge_model',
    });
  const [{ ChatEndpoint }, { endpointJudge }, { readPrompts }] = await Promise.all([
    import('./chat-endpoint.ts'),
    import('./endpoint-judge.ts'),
    import('./prompts.ts'),
  ]);
  const onReply = log === undefined ? undefined : openJudgeLog(log, onWarning);
  return endpointJudge(new ChatEndpoint({ baseUrl: judge, model, ...options, onReply }), {
    prompts: await readPrompts(prompts),
    seesVideo,
  });
}

/**
 * Appends every reply of a judge to a file of JSON lines, from which all scores can be computed again.
 * @throws AvocadoError `bad_request`
 */
function openJudgeLog(path: string, onWarning: (sentence: string) => void): (exchange: JudgeExchange) => void {
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
    onWarning(`--judge-log ${path} is no longer written: ${error.message}`);
  });
  log.on('error', () => undefined);
  return (exchange) => {
    log.write(`${JSON.stringify({ time: new Date().toISOString(), ...exchange }, withoutMedia)}\n`);
  };
}

/** A video in a question would be most of the log, and the trainer has it anyway. */
function withoutMedia(_key: string, value: unknown): unknown {
  return typeof value === 'string' && value.startsWith('data:') ? `data: URL of ${value.length} characters` : value;
}
