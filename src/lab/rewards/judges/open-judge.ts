import { AvocadoError } from '../../../base/errors.ts';
import type { Judge } from './judge.ts';

export interface JudgeOptions {
  /** `world`, or the base URL of an OpenAI-compatible server */
  readonly judge: string;
  readonly model: string | undefined;
  readonly apiKey: string | undefined;
  /** most questions at a time */
  readonly concurrency: number;
  /** of one try */
  readonly timeoutMs: number;
  readonly seesVideo: boolean;
  /** directory of prompts; undefined = ours */
  readonly prompts: string | undefined;
  /** file that all its answers are appended to */
  readonly log: string | undefined;
  readonly onFault: (sentence: string) => void;
}

/** @throws AvocadoError `bad_request` */
export async function openJudge({
  judge,
  model,
  prompts,
  seesVideo,
  log,
  onFault,
  ...options
}: JudgeOptions): Promise<Judge> {
  if (judge === 'world') return (await import('./world-judge.ts')).worldJudge();
  if (model === undefined)
    throw new AvocadoError('bad_request', `--judge ${judge} needs --judge-model: name the model to ask there.`, {
      param: 'judge_model',
    });
  const [{ ChatEndpoint }, { endpointJudge }, { openJudgeLog }, { readPrompts }] = await Promise.all([
    import('./chat-endpoint.ts'),
    import('./endpoint-judge.ts'),
    import('./judge-log.ts'),
    import('./prompts.ts'),
  ]);
  const onAnswer = log === undefined ? undefined : openJudgeLog(log, onFault);
  return endpointJudge(new ChatEndpoint({ baseUrl: judge, model, ...options, onAnswer }), {
    prompts: await readPrompts(prompts),
    seesVideo,
  });
}
