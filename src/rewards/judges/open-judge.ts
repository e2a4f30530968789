import { AvocadoError } from '../../errors.ts';
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
}

/** @throws AvocadoError `bad_request` */
export async function openJudge(options: JudgeOptions): Promise<Judge> {
  if (options.judge === 'world') return (await import('./world-judge.ts')).worldJudge();
  throw new AvocadoError('bad_request', `--judge ${options.judge} needs --judge-model: name the model to ask there.`, { param: 'judge_model' });
}
