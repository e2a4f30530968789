import { createReadStream } from 'node:fs';
import { addAbortSignal } from 'node:stream';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { abortError } from '../base/abort.ts';
import { baseUrlOf } from '../base/base-url.ts';
import { withoutMark } from '../base/byte-order-mark.ts';
import { checkValue } from '../base/check-value.ts';
import { readVariable } from '../base/env.ts';
import { AvocadoError, ERRORS } from '../base/errors.ts';
import { textLines } from '../base/text-lines.ts';
import { scoreBatch, type Scorer } from '../lab/rewards/score.ts';
import {
  NORMALISATIONS,
  PAPER_LENGTHS,
  PAPER_REWARDS,
  REWARDS,
  Unscored,
  type ItemScore,
  type Normalisation,
  type RewardName,
  type RewardOptions,
} from '../lab/rewards/types.ts';
import { ITEM, itemOf, rewardOptions, scoreJson, type RewardDefaults, type WireItem } from '../lab/rewards/wire.ts';
import { inputDirectory } from './flag-values.ts';
import { numberValue, positiveNumber, wholeNumber } from './flags.ts';
import { write, writeJson } from './terminal.ts';
import type { CliEnvironment, ExitStatus } from './cli-environment.ts';

/** As commander stores them. */
interface RewardFlags {
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

export function addRewardCommand(program: Command, environment: CliEnvironment, status: ExitStatus): void {
  const command = program
    .command('reward')
    .description('the paper’s rewards of captions: of a JSONL file, or for trainers over HTTP')
    .argument('[file]', 'lines {completion, completion_tokens, reference: {caption}}; - = stdin')
    .option(
      '--port <port>',
      'serve POST /v1/rewards on this port, 0 = any, instead of scoring a file',
      wholeNumber(0, 65_535),
    )
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option(
      '--deadline-seconds <s>',
      'maximum time for a batch; rewards that are not ready by then are null',
      positiveNumber,
      300,
    );
  addJudgeFlags(command);
  addScoringFlags(command);
  command.action(async (file: string | undefined, flags: RewardFlags) => {
    await reward(file, flags, environment, status);
  });
}

function addJudgeFlags(command: Command): void {
  command
    .option(
      '--judge <world|url>',
      'who reads captions: world = exact match for captions of avocado-nano; or the base URL of an OpenAI-compatible ' +
        'server',
      judgeValue,
      'world',
    )
    .option('--judge-model <name>', 'model to ask there; AVOCADO_JUDGE_API_KEY holds the key')
    .option('--judge-concurrency <n>', 'maximum number of concurrent questions to the judge', wholeNumber(1), 64)
    .option('--judge-timeout <s>', 'maximum time for an answer of the judge, per attempt', positiveNumber, 120)
    .option('--judge-video', 'the judge of speakers sees the item’s video (http, https or data URL)', false)
    .option(
      '--prompts <dir>',
      'your own prompts: keypoints.txt, checklist.txt, dialogues.txt, speakers.txt; missing ones are built in',
      inputDirectory,
    )
    .option('--judge-log <file>', 'append every answer of the judge to this file, as JSON lines');
}

function addScoringFlags(command: Command): void {
  command
    .option(
      '--tokenizer <dir>',
      'model directory whose tokenizer counts tokens where an item has no completion_tokens',
      inputDirectory,
    )
    .option('--length-from <tokens>', 'R_L is 1 up to here', wholeNumber(0), PAPER_LENGTHS.from)
    .option('--length-to <tokens>', 'R_L is 0 from here on', wholeNumber(1), PAPER_LENGTHS.to)
    .addOption(
      new Option(
        '--normalisation <name>',
        'of spoken lines: raw as in the paper; basic = ignore case, quotes and the last punctuation mark',
      )
        .choices(NORMALISATIONS)
        .default('raw'),
    )
    .option('--rewards <list>', 'of a file: some of checklist, dialogue, length, precision', rewardNames, PAPER_REWARDS)
    .option('--weights <list>', 'of a file: a weight for each reward (default: 1)', (text: string) =>
      text.split(',').map(numberValue),
    );
}

function rewardNames(text: string): readonly RewardName[] {
  const names = text.split(',').map((name) => {
    const reward = REWARDS.find((known) => known === name.trim());
    if (reward !== undefined) return reward;
    throw new InvalidArgumentError(`They must be some of ${REWARDS.join(', ')}, with commas between.`);
  });
  if (new Set(names).size === names.length) return names;
  throw new InvalidArgumentError('Each reward counts once: give a weight with --weights instead.');
}

function judgeValue(text: string): string {
  const judge = text === 'world' ? text : baseUrlOf(text);
  if (judge !== undefined) return judge;
  throw new InvalidArgumentError(
    'It must be world, or the base URL of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1.',
  );
}

/** Judge, tokenizer and web server are loaded when they are needed, so that the other commands start fast. */
async function reward(
  file: string | undefined,
  flags: RewardFlags,
  environment: CliEnvironment,
  status: ExitStatus,
): Promise<void> {
  if ((file === undefined) === (flags.port === undefined)) {
    throw new AvocadoError(
      'bad_request',
      'Name a file of captions to score, or give --port to serve trainers; not both.',
      { param: 'port' },
    );
  }
  const defaults = defaultsOf(flags);
  const options = rewardOptions(flags, defaults);
  const scorer = await openScorer(flags, environment);
  if (file === undefined) await serveRewards(scorer, defaults, flags, environment);
  else if (await scoreFile(file, scorer, options, environment)) status.fail(ERRORS.engine_unavailable.exit);
}

function defaultsOf({ lengthFrom, lengthTo, normalisation }: RewardFlags): RewardDefaults {
  if (lengthFrom < lengthTo) return { length: { from: lengthFrom, to: lengthTo, least: 0 }, normalisation };
  throw new AvocadoError('bad_request', `--length-from ${lengthFrom} must be less than --length-to ${lengthTo}.`, {
    param: 'length_from',
  });
}

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
    onWarning: (sentence) => {
      environment.stderr.write(`${sentence}\n`);
    },
  });
  if (flags.tokenizer === undefined) return { judge };
  const { loadTokenizer } = await import('../prompt/tokenizer.ts');
  const tokenizer = await loadTokenizer(flags.tokenizer);
  return { judge, countTokens: (text) => tokenizer.encodePlain(text).length };
}

/** Captions that are read ahead and scored together. */
const BATCH_ITEMS = 256;

/**
 * Writes the scores of every line to stdout, in order, and the means to stderr.
 * @returns whether the judge could not be asked about all of them: what is null for that can be scored later
 * @throws AvocadoError `bad_request` or `unknown_field` naming the line, `aborted`
 */
async function scoreFile(
  file: string,
  scorer: Scorer,
  options: RewardOptions,
  environment: CliEnvironment,
): Promise<boolean> {
  const interruption = environment.interruption();
  const controller = new AbortController();
  const abort = (): void => {
    controller.abort(new Unscored('aborted', 'Cancelled.'));
  };
  if (interruption.aborted) abort();
  interruption.addEventListener('abort', abort, { once: true });
  const summary = new Summary(options.rewards);
  for await (const items of batchesOf(file, environment, interruption)) {
    const scores = await scoreBatch(items.map(itemOf), scorer, options, controller.signal);
    if (interruption.aborted) throw abortError(interruption);
    for (const [index, score] of scores.entries()) {
      await writeJson(environment.stdout, scoreJson(items[index] ?? { completion: '' }, score));
      summary.add(score);
    }
  }
  await write(environment.stderr, summary.text());
  return summary.isJudgeGone;
}

/** @throws AvocadoError `bad_request`, `unknown_field`; `aborted`, also while it waits for a line */
async function* batchesOf(
  file: string,
  environment: CliEnvironment,
  signal: AbortSignal,
): AsyncGenerator<readonly WireItem[]> {
  const input = addAbortSignal(signal, file === '-' ? environment.stdin() : createReadStream(file));
  let items: WireItem[] = [];
  let number = 0;
  try {
    for await (const line of textLines(input)) {
      number += 1;
      if (line.trim() !== '') items.push(parseLine(number === 1 ? withoutMark(line) : line, number));
      if (items.length < BATCH_ITEMS) continue;
      yield items;
      items = [];
    }
  } catch (error) {
    if (signal.aborted) throw abortError(signal);
    if (error instanceof AvocadoError) throw error;
    const reason = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new AvocadoError(
      'bad_request',
      `${file} cannot be read (${reason}): name a file of JSON lines, or - for stdin.`,
      { cause: error },
    );
  }
  if (items.length > 0) yield items;
}

function parseLine(line: string, number: number): WireItem {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new AvocadoError('bad_request', `Line ${number} is not JSON: ${(cause as Error).message}.`, { cause });
  }
  return checkValue(ITEM, value, `line ${number}`);
}

/** Mean and count of the values that are not null. */
class Mean {
  #sum = 0;
  count = 0;

  add(value: number | null | undefined): void {
    if (value == null) return;
    this.#sum += value;
    this.count += 1;
  }

  toString(): string {
    return this.count === 0 ? '-' : (this.#sum / this.count).toFixed(4);
  }
}

/** The mean of each reward over the captions that have it, how many have it, and the reasons why others do not. */
class Summary {
  readonly #total = new Mean();
  readonly #means: ReadonlyMap<RewardName, Mean>;
  readonly #reasons = new Map<string, number>();
  #items = 0;
  isJudgeGone = false;

  constructor(rewards: readonly RewardName[]) {
    this.#means = new Map(rewards.map((reward) => [reward, new Mean()]));
  }

  add(score: ItemScore): void {
    this.#items += 1;
    this.#total.add(score.total);
    for (const [reward, mean] of this.#means) mean.add(score[reward]?.value);
    for (const { reward, code } of score.errors) {
      this.isJudgeGone ||= code.startsWith('judge_');
      this.#reasons.set(`${reward} ${code}`, (this.#reasons.get(`${reward} ${code}`) ?? 0) + 1);
    }
  }

  /** A text table. */
  text(): string {
    const rows = [...this.#means, ['total', this.#total] as const].map(
      ([name, mean]) => `${name.padEnd(10)} ${String(mean).padStart(8)}   of ${mean.count} of ${this.#items}`,
    );
    const reasons = [...this.#reasons].map(([reason, count]) => `null: ${reason}, ${count} times`);
    return `${[...rows, ...reasons].join('\n')}\n`;
  }
}

/** On shutdown, running batches get this long; their own deadline may be later. */
const DRAIN_MS = 30_000;

async function serveRewards(
  scorer: Scorer,
  defaults: RewardDefaults,
  { host, port = 0, deadlineSeconds }: RewardFlags,
  environment: CliEnvironment,
): Promise<void> {
  const [{ buildRewardApp }, { listen }, { isLoopback }] = await Promise.all([
    import('../lab/rewards/reward-service.ts'),
    import('../server/listen.ts'),
    import('../settings/server-settings.ts'),
  ]);
  const app = buildRewardApp({ scorer, defaults, deadlineSeconds, drainMs: DRAIN_MS }, environment.stderr);
  const { url } = await listen(app, { close: () => Promise.resolve() }, { host, port, drainMs: DRAIN_MS });
  if (!isLoopback(host))
    await write(
      environment.stderr,
      `warning: ${host} can be reached from other machines, and the service asks for no key.\n`,
    );
  const { kind, model } = scorer.judge.describe();
  const judge = kind === 'world' ? 'world (exact match, for captions of avocado-nano)' : (model ?? kind);
  const { from, to } = defaults.length;
  await write(environment.stdout, `Rewards at ${url}/v1/rewards, judge ${judge}, R_L from ${from} to ${to} tokens.\n`);
}
