import type { Command } from 'commander';
import { readVariable } from '../base/env.ts';
import { AvocadoError } from '../base/errors.ts';
import { rewardPlan, type RewardDefaults } from '../lab/rewards/reward-plan.ts';
import type { Scorer } from '../lab/rewards/score-item.ts';
import { addRewardFlags, type RewardFlags } from './reward-flags.ts';
import { write } from './terminal.ts';
import type { CliEnvironment } from './cli-environment.ts';

/** Batches under way end by their own deadline; a stop waits no longer than this for them. */
const DRAIN_MS = 5000;

export function addRewardCommand(program: Command, environment: CliEnvironment): void {
  const command = program
    .command('reward')
    .description('the paper’s rewards of captions: of a JSONL file, or for trainers over HTTP')
    .argument('[file]', 'lines {completion, completion_tokens, reference: {caption}}; - = stdin');
  addRewardFlags(command).action(async (file: string | undefined, flags: RewardFlags) => {
    await reward(file, flags, environment);
  });
}

function defaultsOf({ lengthFrom, lengthTo, normalisation }: RewardFlags): RewardDefaults {
  if (lengthFrom < lengthTo) return { length: { from: lengthFrom, to: lengthTo, least: 0 }, normalisation };
  throw new AvocadoError('bad_request', `--length-from ${lengthFrom} must be less than --length-to ${lengthTo}.`, {
    param: 'length_from',
  });
}

/** Loaded here, not at the top: the other commands start without it, and this one without tokenizer or web server where it needs none. */
async function openScorer(flags: RewardFlags, environment: CliEnvironment): Promise<Scorer> {
  const { openJudge } = await import('../lab/rewards/judges/open-judge.ts');
  const judge = await openJudge({
    judge: flags.judge,
    model: flags.judgeModel,
    apiKey: readVariable('AVOCADO_JUDGE_API_KEY'),
    concurrency: flags.judgeConcurrency,
    timeoutMs: flags.judgeTimeout * 1000,
    seesVideo: flags.judgeVideo,
    prompts: flags.prompts,
    log: flags.judgeLog,
    onFault: (sentence) => {
      environment.stderr.write(`${sentence}\n`);
    },
  });
  if (flags.tokenizer === undefined) return { judge };
  const { loadTokenizer } = await import('../prompt/tokenizer.ts');
  const tokenizer = await loadTokenizer(flags.tokenizer);
  return { judge, countTokens: (text) => tokenizer.encodePlain(text).length };
}

async function reward(file: string | undefined, flags: RewardFlags, environment: CliEnvironment): Promise<void> {
  if ((file === undefined) === (flags.port === undefined)) {
    throw new AvocadoError(
      'bad_request',
      'Name a file of captions to score, or give --port to serve trainers; not both.',
      { param: 'port' },
    );
  }
  const defaults = defaultsOf(flags);
  const plan = rewardPlan(flags, defaults);
  const scorer = await openScorer(flags, environment);
  if (file === undefined) await serveRewards(scorer, defaults, flags, environment);
  else await (await import('./reward-file.ts')).rewardFile(file, scorer, plan, environment);
}

async function serveRewards(
  scorer: Scorer,
  defaults: RewardDefaults,
  { host, port = 0, deadlineSeconds }: RewardFlags,
  environment: CliEnvironment,
): Promise<void> {
  const [{ buildRewardApp }, { listen }, { isLoopback }] = await Promise.all([
    import('../lab/rewards/http/app.ts'),
    import('../server/listen.ts'),
    import('../settings/server-settings.ts'),
  ]);
  const app = buildRewardApp({ scorer, defaults, deadlineSeconds }, environment.stderr);
  const { url } = await listen(app, { close: () => Promise.resolve() }, { host, port, drainMs: DRAIN_MS });
  if (!isLoopback(host))
    await write(
      environment.stderr,
      `warning: ${host} can be reached from other machines, and anybody who reaches it may ask.\n`,
    );
  const { kind, model } = scorer.judge.about();
  await write(
    environment.stdout,
    `Rewards at ${url}/v1/rewards, judge ${kind === 'world' ? 'world (exact match, for captions of avocado-nano)' : (model ?? kind)}, R_L from ${defaults.length.from} to ${defaults.length.to} tokens.\n`,
  );
}
