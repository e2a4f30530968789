import { InvalidArgumentError, Option, type Command } from 'commander';
import { NORMALISATIONS, type Normalisation } from '../lab/rewards/normalise.ts';
import { PAPER_REWARDS, REWARDS, type RewardName } from '../lab/rewards/types.ts';
import { numberValue, positiveNumber, wholeNumber } from './flags.ts';

/** As commander stores them. */
export interface RewardFlags {
  readonly host: string;
  readonly port?: number;
  readonly deadlineSeconds: number;
  readonly judge: string;
  readonly judgeModel?: string;
  readonly judgeConcurrency: number;
  readonly judgeTimeout: number;
  readonly judgeVideo: boolean;
  readonly prompts?: string;
  readonly judgeLog?: string;
  readonly tokenizer?: string;
  readonly lengthFrom: number;
  readonly lengthTo: number;
  readonly normalisation: Normalisation;
  readonly rewards: readonly RewardName[];
  readonly weights?: readonly number[];
}

function rewardNames(text: string): readonly RewardName[] {
  return text.split(',').map((name) => {
    const reward = REWARDS.find((known) => known === name.trim());
    if (reward !== undefined) return reward;
    throw new InvalidArgumentError(`They must be some of ${REWARDS.join(', ')}, with commas between.`);
  });
}

function judgeValue(text: string): string {
  if (text === 'world' || /^https?:\/\/[^/]/.test(text)) return text.replace(/\/+$/, '');
  throw new InvalidArgumentError(
    'It must be world, or the base URL of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1.',
  );
}

function addJudgeFlags(command: Command): Command {
  return command
    .option(
      '--judge <world|url>',
      'who reads captions: world = exact match for captions of avocado-nano; or the base URL of an OpenAI-compatible server',
      judgeValue,
      'world',
    )
    .option('--judge-model <name>', 'model to ask there; AVOCADO_JUDGE_API_KEY holds the key')
    .option('--judge-concurrency <n>', 'most questions to the judge at a time', wholeNumber(1), 64)
    .option('--judge-timeout <s>', 'longest answer of the judge, each try', positiveNumber, 120)
    .option('--judge-video', 'the judge of speakers sees the item’s video (http, https or data URL)', false)
    .option(
      '--prompts <dir>',
      'your own prompts: keypoints.txt, checklist.txt, dialogues.txt, speakers.txt; a missing one is ours',
    )
    .option('--judge-log <file>', 'append every answer of the judge to this file, as JSON lines');
}

/** Flags of `avocado reward`: the door, the judge, and what is scored how. */
export function addRewardFlags(command: Command): Command {
  command
    .option(
      '--port <port>',
      'serve POST /v1/rewards on this port, 0 = any, instead of scoring a file',
      wholeNumber(0, 65_535),
    )
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option(
      '--deadline-seconds <s>',
      'longest time for a batch; what has not ended by then is null',
      positiveNumber,
      300,
    );
  return addJudgeFlags(command)
    .option('--tokenizer <dir>', 'model directory whose tokenizer counts tokens where an item has no completion_tokens')
    .option('--length-from <tokens>', 'R_L is 1 up to here', wholeNumber(0), 2048)
    .option('--length-to <tokens>', 'R_L is 0 from here on', wholeNumber(1), 4096)
    .addOption(
      new Option(
        '--normalisation <name>',
        'of spoken lines: raw as in the paper, basic = without case, quotes, last mark',
      )
        .choices(NORMALISATIONS)
        .default('raw'),
    )
    .option('--rewards <list>', 'of a file: some of checklist, dialogue, length, precision', rewardNames, PAPER_REWARDS)
    .option('--weights <list>', 'of a file: a weight for each reward (default: 1)', (text: string) =>
      text.split(',').map(numberValue),
    );
}
