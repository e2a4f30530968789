import { join, resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { AvocadoError, ERRORS } from '../base/errors.ts';
import { packageVersion } from '../base/package-files.ts';
import { snakeCase } from '../output/caption-answer.ts';
import type { Benchmark, Preset } from '../lab/evaluate/benchmark.ts';
import type { Captioner } from '../captioner/captioner.ts';
import type { CaptionSource } from '../lab/evaluate/captions.ts';
import type { EvaluationOptions, EvaluationResult } from '../lab/evaluate/run-evaluation.ts';
import { engineSettings, type EngineSettings } from '../settings/engine-settings.ts';
import { MODEL_SETTINGS } from '../settings/schema.ts';
import type { CliEnvironment, ExitStatus } from './cli-environment.ts';
import { inputDirectory, inputFile, outputDirectory } from './flag-values.ts';
import { addSettingFlags, FILE_LIMITS, readFlags, wholeNumber, type Flags } from './flags.ts';
import { addEndpointFlags, addPriceFlags, budgetOf, openEndpoint } from './judge-flags.ts';
import { ProgressLine, warn, write, writeJson } from './terminal.ts';
import { addVerifyFlags, isVerifying, openVerifier } from './verify-flags.ts';

interface EvaluateFlags extends Flags {
  readonly data: string;
  readonly out?: string;
  readonly captions?: string;
  readonly preset: Preset;
  readonly runs?: number;
  readonly limit?: number;
  readonly prompts?: string;
  readonly dialogue: boolean;
  readonly references?: string;
  readonly maxTokens: number;
  readonly resamples: number;
  readonly seed: number;
  readonly json: boolean;
  readonly verbose: boolean;
}

/** `--preset` is the benchmark's here; the model's is the one that its name or avocado.json tells. */
const SETTINGS = [...MODEL_SETTINGS.filter((name) => name !== 'preset'), ...(['slots', ...FILE_LIMITS] as const)];

export function addEvaluateCommand(program: Command, environment: CliEnvironment, status: ExitStatus): void {
  const command = program
    .command('evaluate')
    .description('measure captions on a benchmark: make them or read them, let a judge compare, report')
    .argument('[benchmark]', 'name of a benchmark; without one, all of them are listed')
    .option('--data <dir>', 'directory of the dataset; nothing is downloaded', inputDirectory, '.')
    .option('--out <dir>', 'where it works and reports, and goes on (default: evaluation/BENCHMARK)', outputDirectory)
    .option('--captions <file>', 'captions made elsewhere, as JSON lines of video_id and caption', inputFile)
    .addOption(
      new Option('--preset <name>', 'paper = as its text says, compat = as its scripts do')
        .choices(['paper', 'compat'] satisfies Preset[])
        .default('paper'),
    )
    .option('--runs <n>', 'independent judgements; the median is reported (default: as the preset)', wholeNumber(1, 99))
    .option('--limit <n>', 'only the first n clips', wholeNumber(1))
    .option('--prompts <dir>', 'your own prompts for the judge, NAME.txt; missing ones are built in', inputDirectory)
    .option('--dialogue', 'also judge the spoken lines: Dlg. F1', false)
    .option('--references <file>', 'for --dialogue: JSON lines of video_id and caption, or dialogues', inputFile)
    .option('--max-tokens <n>', 'most tokens of a caption', wholeNumber(1), 2048)
    .option('--resamples <n>', 'of the bootstrap', wholeNumber(0, 100_000), 1000)
    .option('--seed <n>', 'of the bootstrap', wholeNumber(0), 0)
    .option('--json', 'the report as JSON on stdout', false)
    .option('--verbose', 'progress on stderr even when it is not a terminal', false);
  addPriceFlags(addEndpointFlags(command, 'judge', 'who compares captions'), 'judge');
  addEndpointFlags(command, 'server', 'who makes captions instead of a model here');
  addSettingFlags(addVerifyFlags(command, true), SETTINGS);
  command.action(async (name: string | undefined, flags: EvaluateFlags) => {
    const { BENCHMARKS } = await import('../lab/evaluate/benchmarks/all.ts');
    if (name === undefined) await write(environment.stdout, listText(BENCHMARKS));
    else await evaluate(benchmarkNamed(name, BENCHMARKS), flags, environment, status);
  });
}

/** Flags, each with the one without which it would be ignored. */
const NEEDS = [
  ['references', 'dialogue'],
  ...(['dialogue', 'prompts', 'runs', 'judgePrice'] as const).map((name) => [name, 'judge'] as const),
] as const;

/** @throws AvocadoError `bad_request` for flags that would be ignored */
function checkFlags(flags: EvaluateFlags): void {
  const isGiven = (name: string): boolean => flags[name] !== undefined && flags[name] !== false;
  const refuse = (name: string, sentence: string): never => {
    throw new AvocadoError('bad_request', sentence, { param: name });
  };
  for (const [name, needed] of NEEDS)
    if (isGiven(name) && !isGiven(needed))
      refuse(name, `--${name === 'judgePrice' ? 'judge-price' : name} needs --${needed}.`);
  if (isGiven('captions') && isGiven('server'))
    refuse('captions', '--captions and --server exclude each other: give one of them.');
  checkVerify(flags);
}

/** @throws AvocadoError `bad_request` for flags that --verify cannot work with */
function checkVerify(flags: EvaluateFlags): void {
  if (!isVerifying(flags, true)) return;
  const refuse = (sentence: string): never => {
    throw new AvocadoError('bad_request', sentence, { param: 'verify' });
  };
  if (flags.captions !== undefined || flags['server'] !== undefined)
    refuse('--verify captions clips again with a model here: leave --captions and --server out.');
  if (flags['maxCost'] !== undefined)
    refuse('--max-cost does not count the questions of --verify: leave one of them out.');
}

function listText(benchmarks: readonly Benchmark[]): string {
  const rows = benchmarks.map(({ name, title, source, listens }) => {
    return `${name.padEnd(18)} ${title}${listens ? '' : ', without sound'}: from ${source.from}`;
  });
  return `${rows.join('\n')}\n`;
}

function benchmarkNamed(name: string, benchmarks: readonly Benchmark[]): Benchmark {
  const found = benchmarks.find((benchmark) => benchmark.name === name);
  if (found !== undefined) return found;
  const names = benchmarks.map((benchmark) => benchmark.name).join(', ');
  throw new AvocadoError('bad_request', `There is no benchmark ${name}. There are ${names}.`, { param: 'benchmark' });
}

async function evaluate(
  benchmark: Benchmark,
  flags: EvaluateFlags,
  environment: CliEnvironment,
  status: ExitStatus,
): Promise<void> {
  const progress = new ProgressLine(environment, flags);
  const signal = environment.interruption();
  const budget = budgetOf(flags, 'judge');
  checkFlags(flags);
  const judge = await openEndpoint(flags, 'judge', progress.tell);
  const source = new LazySource(benchmark, flags, environment, signal, progress);
  const options: EvaluationOptions = {
    benchmark,
    directory: resolve(flags.data),
    out: resolve(flags.out ?? join('evaluation', benchmark.name)),
    preset: flags.preset,
    runs: flags.runs,
    limit: flags.limit,
    captions: flags.captions ?? (() => source.open()),
    judge: judge === undefined ? undefined : { ...judge, ...budget },
    prompts: flags.prompts,
    dialogue: flags.dialogue,
    references: flags.references,
    resamples: flags.resamples,
    seed: flags.seed,
    signal,
    onProgress: progress.show,
    onWarning: (sentence) => {
      progress.clear();
      void warn(environment.stderr, [sentence]);
    },
  };
  const { runEvaluation } = await import('../lab/evaluate/run-evaluation.ts');
  try {
    await tell(await runEvaluation(options), options.out, flags, environment, status);
  } finally {
    progress.clear();
    await source.close();
  }
}

async function tell(
  { report, missing, asked }: EvaluationResult,
  out: string,
  flags: EvaluateFlags,
  { stdout, stderr }: CliEnvironment,
  status: ExitStatus,
): Promise<void> {
  const { markdownReport } = await import('../lab/evaluate/report.ts');
  const { BENCHMARKS } = await import('../lab/evaluate/benchmarks/all.ts');
  if (flags.json) await writeJson(stdout, snakeCase(report));
  else await write(stdout, markdownReport(report, benchmarkNamed(report.benchmark, BENCHMARKS)));
  await write(stderr, `${asked} questions were asked now. The reports are in ${out}.\n`);
  const { open = 0, unreadable = 0, unreadable_questions: questions = 0 } = report.evaluation?.counts ?? {};
  const { failed = 0 } = report.dialogue ?? {};
  const [first] = missing;
  const worst = report.evaluation === undefined ? '' : ' The strict counting takes them as the worst.';
  await warn(stderr, [
    ...(first === undefined ? [] : [`${missing.length} clips have no caption, such as ${first}.${worst}`]),
    ...(unreadable === 0 ? [] : [`The replies of the judge about ${unreadable} clips cannot be read.`]),
    ...(questions === 0 ? [] : [`${questions} questions about judged clips have no readable reply.`]),
    ...(open === 0 ? [] : [`${open} clips are not judged yet: start the command again.`]),
    ...(failed === 0 ? [] : [`The spoken lines of ${failed} clips have no score.`]),
  ]);
  if (open + unreadable + questions + failed > 0) status.fail(ERRORS.engine_unavailable.exit);
  else if (first !== undefined) status.fail(ERRORS.media_not_found.exit);
}

/** The model or server of the flags, opened when the first caption is needed. */
class LazySource {
  readonly #benchmark: Benchmark;
  readonly #flags: EvaluateFlags;
  readonly #environment: CliEnvironment;
  readonly #signal: AbortSignal;
  readonly #progress: ProgressLine;
  #close: (() => Promise<void>) | undefined;

  constructor(
    benchmark: Benchmark,
    flags: EvaluateFlags,
    environment: CliEnvironment,
    signal: AbortSignal,
    progress: ProgressLine,
  ) {
    this.#benchmark = benchmark;
    this.#flags = flags;
    this.#environment = environment;
    this.#signal = signal;
    this.#progress = progress;
  }

  async open(): Promise<CaptionSource> {
    const { engineSource, serverSource } = await import('../lab/evaluate/captions.ts');
    const check = await openVerifier(this.#flags, this.#progress.tell, true);
    const options = { listens: this.#benchmark.listens, maxTokens: this.#flags.maxTokens, check };
    const server = await openEndpoint(this.#flags, 'server', this.#progress.tell);
    if (server !== undefined) return serverSource(server.endpoint, server, options);
    const { modelIdentity } = await import('../batch/identity.ts');
    const model = await readFlags(SETTINGS, this.#flags, this.#environment);
    const settings = engineSettings({ ...model, mediaCacheBytes: 0 });
    const described = await this.#environment.describeModel(settings);
    const identity = JSON.stringify(await modelIdentity(described, packageVersion()));
    return engineSource(
      { name: described.name, slots: settings.slots },
      () => this.#openEngine(settings),
      identity,
      options,
    );
  }

  async #openEngine(settings: EngineSettings): Promise<Captioner> {
    const engine = await this.#environment.openEngineProcess({ settings, onProgress: this.#progress.show });
    this.#close = () => engine.close();
    await engine.ready(this.#signal);
    return engine;
  }

  async close(): Promise<void> {
    await this.#close?.();
  }
}
