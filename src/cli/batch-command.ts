import { createWriteStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { AvocadoError, ERRORS, type ErrorCode } from '../base/errors.ts';
import { packageVersion } from '../base/package-files.ts';
import { makeTemporaryDirectory, removeTemporaryDirectory } from '../base/temporary-directory.ts';
import { modelIdentity } from '../batch/identity.ts';
import type { BatchCaptioner } from '../batch/item-work.ts';
import {
  folderOf,
  isAddress,
  isManifest,
  itemsOfArgument,
  itemsOfList,
  listKind,
  type Listed,
  type ListFile,
} from '../batch/inputs.ts';
import { Layout } from '../batch/layout.ts';
import { refuseFormats } from '../batch/look.ts';
import { extensionFilter, MEDIA_EXTENSIONS } from '../batch/list-files.ts';
import { shownPath } from '../batch/path-text.ts';
import { durationText, progressText, type ProgressFacts } from '../batch/progress.ts';
import { reportText, type Report } from '../batch/report.ts';
import { Batch, type BatchOptions } from '../batch/run-batch.ts';
import type { PlannedEntry, Survey } from '../batch/survey.ts';
import { FORMATS, type Format } from '../batch/types.ts';
import { Settling } from '../batch/watch.ts';
import { mergeIdentity } from '../captioner/merge.ts';
import { mergingCaptioner, type MergeOptions } from '../captioner/merging-captioner.ts';
import { snakeCase } from '../output/caption-answer.ts';
import { engineSettings, type EngineSettings } from '../settings/engine-settings.ts';
import { MERGE_SETTINGS } from '../settings/merge-settings.ts';
import { MODEL_SETTINGS } from '../settings/schema.ts';
import { addServerFlags, batchServer, serverUrl } from './batch-server.ts';
import type { CliEnvironment, ExitStatus } from './cli-environment.ts';
import { CommandFiles } from './command-files.ts';
import { inputDirectory, inputFile, outputDirectory } from './flag-values.ts';
import {
  addRequestFlags,
  addSettingFlags,
  FILE_LIMITS,
  optionsFromFlags,
  positiveNumber,
  readFlags,
  requestFromFlags,
  type Flags,
} from './flags.ts';
import { openMerge } from './judge-flags.ts';
import { ProgressLine, write, writeJson } from './terminal.ts';
import { addVerifyFlags, openVerifier } from './verify-flags.ts';

interface BatchFlags extends Flags {
  readonly list?: readonly string[];
  readonly null: boolean;
  readonly out?: string;
  readonly root?: string;
  readonly format: readonly Format[];
  readonly shortNames: boolean;
  readonly extensions: readonly string[];
  readonly plan: boolean;
  readonly redo: boolean;
  readonly keep: boolean;
  readonly retryFailed?: boolean | string;
  readonly watch: boolean;
  readonly settle: number;
  readonly json: boolean;
  readonly verbose: boolean;
}

const BATCH_SETTINGS = [...MODEL_SETTINGS, 'slots', ...FILE_LIMITS] as const;
/** What makes the captions of a run. */
export type Maker = Pick<BatchOptions, 'identity' | 'rateOf' | 'openCaptioner'>;

const STDIN = '-';
/** In a log, a line of progress so often. */
const LOG_PROGRESS_MS = 30_000;

function formats(text: string): readonly Format[] {
  if (text === 'none') return [];
  const names = text.split(',').map((name) => name.trim().replace(/^\./, ''));
  const unknown = names.find((name) => !FORMATS.includes(name as Format));
  if (unknown === undefined) return [...new Set(names)] as Format[];
  throw new InvalidArgumentError(`It must be none, or names of ${FORMATS.join(', ')} with commas between them.`);
}

function names(text: string): readonly string[] {
  const all = text.split(',').map((name) => name.trim());
  if (!all.includes('')) return all;
  throw new InvalidArgumentError('It must be names such as mp4,mkv, or * for all files.');
}

function failureCode(text: string): string {
  if (Object.hasOwn(ERRORS, text)) return text;
  throw new InvalidArgumentError('There is no such error code. Without one, what failed is tried again.');
}

export function addBatchCommand(program: Command, environment: CliEnvironment, status: ExitStatus): void {
  const command = program
    .command('batch')
    .description('caption a library: whole directories, lists and manifests; goes on where it stopped')
    .argument(
      '[input...]',
      'directory, pattern, file, https: or http: address, .jsonl or .csv manifest, or - for a list',
    );
  addServerFlags(addVerifyFlags(addSettingFlags(addRequestFlags(command), [...BATCH_SETTINGS, ...MERGE_SETTINGS])))
    .option('--list <file>', 'a list of paths and addresses, one a line, - = stdin; repeatable', lists)
    .option('-0, --null', 'entries of lists end with NUL, as find -print0 prints them', false)
    .option('--out <dir>', 'where results and sidecars go (default: sidecars beside the media)', outputDirectory)
    .option(
      '--root <dir>',
      'paths in results are relative to it (default: INPUT if it is one directory, else .)',
      inputDirectory,
    )
    .addOption(
      new Option('--format <names>', `sidecars: none, or of ${FORMATS.join(', ')}, with commas`)
        .argParser(formats)
        .default(['json'] satisfies Format[], 'json'),
    )
    .option('--short-names', 'clip.vtt instead of clip.mp4.vtt', false)
    .addOption(
      new Option('--extensions <names>', 'which files of directories are taken, * = all')
        .argParser(names)
        .default(MEDIA_EXTENSIONS, 'those of video and sound'),
    )
    .option('--plan', 'tell what would be done and why, and do nothing', false)
    .option('--redo', 'caption again what has a caption of another model, prompt or setting', false)
    .option('--keep', 'leave captions of other settings as they are', false)
    .option('--retry-failed [code]', 'try again what failed, or what failed with this error code', failureCode)
    .option('--watch', 'go on with files that come, until Ctrl-C', false)
    .option('--settle <s>', 'with --watch: a file unchanged for so long is whole', positiveNumber, 10)
    .option('--json', 'the report, or with --plan every entry, as JSON on stdout', false)
    .option('--verbose', 'progress on stderr even when it is not a terminal', false)
    .action(async (inputs: readonly string[], flags: BatchFlags) => {
      await new BatchCommand(inputs, flags, environment, status).run();
    });
}

function lists(name: string, before: readonly string[] = []): readonly string[] {
  return [...before, name === STDIN || isAddress(name) ? name : inputFile(name)];
}

class BatchCommand {
  readonly #inputs: readonly string[];
  readonly #flags: BatchFlags;
  readonly #environment: CliEnvironment;
  readonly #status: ExitStatus;
  readonly #progress: ProgressLine;
  readonly #files: CommandFiles;
  readonly #signal: AbortSignal;
  #scratch: Promise<string> | undefined;
  #passedOver = 0;
  #shownMs = -Infinity;

  constructor(inputs: readonly string[], flags: BatchFlags, environment: CliEnvironment, status: ExitStatus) {
    this.#inputs = inputs;
    this.#flags = flags;
    this.#environment = environment;
    this.#status = status;
    this.#progress = new ProgressLine(environment, flags);
    this.#files = new CommandFiles(environment.stdin);
    this.#signal = environment.interruption();
  }

  async run(): Promise<void> {
    this.#check();
    const maker = await this.#maker();
    const layout = new Layout({ root: await this.#root(), out: this.#out(), shortNames: this.#flags.shortNames });
    try {
      await this.#work(maker, layout, await this.#lists());
    } finally {
      this.#progress.clear();
      if (this.#scratch !== undefined) await removeTemporaryDirectory(await this.#scratch);
      await this.#files.close();
    }
  }

  /** What can be said before a model is looked at. */
  #check(): void {
    const { list = [], redo, keep } = this.#flags;
    if (this.#inputs.length + list.length === 0)
      throw new AvocadoError('bad_request', 'Name a directory, a file, a list or an address to caption.');
    if (redo && keep) throw new AvocadoError('bad_request', '--redo and --keep exclude each other: give one of them.');
    refuseFormats(requestFromFlags('', this.#flags).samples, this.#flags.format);
  }

  /** Who makes the captions: a model here, or a server. */
  async #maker(): Promise<Maker> {
    const url = serverUrl(this.#flags, [...BATCH_SETTINGS, ...MERGE_SETTINGS]);
    if (url !== undefined) return await batchServer(url, this.#flags, this.#signal, this.#progress);
    const given = await readFlags(BATCH_SETTINGS, this.#flags, this.#environment);
    const settings = engineSettings({ ...given, prefixSlots: 0, mediaCacheBytes: 0 });
    const model = await this.#environment.describeModel(settings);
    const merge = await openMerge(await readFlags(MERGE_SETTINGS, this.#flags, this.#environment));
    return {
      identity: { ...(await modelIdentity(model, packageVersion())), merge: merge && mergeIdentity(merge.model.model) },
      rateOf: `${model.name} ${model.precision} on ${model.device} of ${hostname()}`,
      openCaptioner: () => this.#open(settings, merge),
    };
  }

  #out(): string | undefined {
    return this.#flags.out === undefined ? undefined : resolve(this.#flags.out);
  }

  async #root(): Promise<string> {
    if (this.#flags.root !== undefined) return resolve(this.#flags.root);
    const [only, ...others] = this.#inputs;
    if (only === undefined || others.length > 0 || this.#flags.list !== undefined) return process.cwd();
    const isDirectory = await stat(only).then(
      (found) => found.isDirectory(),
      () => false,
    );
    return isDirectory ? resolve(only) : process.cwd();
  }

  /** Lists as files that can be read twice: standard input and addresses are stored for the time of the run. */
  async #lists(): Promise<readonly ListFile[]> {
    const lists: ListFile[] = [];
    const named = [
      ...this.#inputs.filter((input) => input === STDIN || isManifest(input)),
      ...(this.#flags.list ?? []),
    ];
    for (const name of named) {
      const kind = this.#flags.null ? 'nul' : name === STDIN ? 'lines' : listKind(name);
      if (name !== STDIN && !isAddress(name)) {
        lists.push({ path: resolve(name), name, directory: folderOf(name), kind });
        continue;
      }
      const path = join(await this.#scratchDirectory(), String(lists.length));
      if (name === STDIN) await pipeline(this.#environment.stdin(), createWriteStream(path), { signal: this.#signal });
      else await this.#files.withPath(name, this.#signal, (fetched) => copy(fetched, path));
      lists.push({ path, name: name === STDIN ? 'standard input' : name, directory: process.cwd(), kind });
    }
    return lists;
  }

  /** Gone when the command ends. */
  #scratchDirectory(): Promise<string> {
    this.#scratch ??= makeTemporaryDirectory(tmpdir(), 'avocado-batch');
    return this.#scratch;
  }

  async *#listing(lists: readonly ListFile[]): AsyncGenerator<Listed> {
    const takes = extensionFilter(this.#flags.extensions);
    this.#passedOver = 0;
    const onPassedOver = (): void => {
      this.#passedOver += 1;
    };
    for (const input of this.#inputs)
      if (input !== STDIN && !isManifest(input)) yield* itemsOfArgument(input, { takes, onPassedOver });
    for (const list of lists) yield* itemsOfList(list);
  }

  async #work(maker: Maker, layout: Layout, lists: readonly ListFile[]): Promise<void> {
    const { flags, signal } = { flags: this.#flags, signal: this.#signal };
    const settling = flags.watch ? new Settling(flags.settle * 1000) : undefined;
    const verifier = await openVerifier(flags, this.#progress.tell);
    const batch = await Batch.open({
      ...maker,
      layout,
      planIn: flags.plan ? await this.#scratchDirectory() : undefined,
      identity: { ...maker.identity, check: verifier?.identity },
      check: verifier?.check,
      formats: flags.format,
      options: optionsFromFlags(flags),
      retryFailed: flags.retryFailed ?? false,
      listing: () => settling?.rested(this.#listing(lists)) ?? this.#listing(lists),
      fetch: (url, aborts, use) => this.#files.withPath(url, aborts, use),
      signal,
    });
    try {
      if (flags.plan) await this.#plan(batch);
      else if (settling === undefined) await this.#round(batch, true);
      else await this.#watch(batch, settling);
    } finally {
      this.#progress.clear();
      await batch.close();
    }
    if (signal.aborted) this.#status.fail(ERRORS.aborted.exit);
  }

  async #open(settings: EngineSettings, merge: MergeOptions | undefined): Promise<BatchCaptioner> {
    const engine = await this.#environment
      .openEngineProcess({ settings, onProgress: this.#progress.show })
      .finally(this.#progress.clear);
    try {
      await engine.ready(this.#signal);
      return mergingCaptioner(engine, merge);
    } catch (thrown) {
      await engine.close();
      throw thrown;
    } finally {
      this.#progress.clear();
    }
  }

  async #plan(batch: Batch): Promise<void> {
    const { stdout } = this.#environment;
    const onPlanned = (entry: PlannedEntry): Promise<void> =>
      this.#flags.json ? writeJson(stdout, entry) : Promise.resolve();
    const found = await batch.survey(onPlanned);
    if (this.#flags.json) await writeJson(stdout, { plan: snakeCase(found) });
    else await write(stdout, planText(found, batch.measuredRate()));
  }

  /** @param isOnly the whole command, not one round of --watch */
  async #round(batch: Batch, isOnly: boolean): Promise<void> {
    if (isOnly) this.#progress.show('looking at the library');
    const found = await batch.survey();
    this.#progress.clear();
    if (this.#signal.aborted) return;
    this.#refuseMixing(found);
    const { actions } = found;
    const isQuiet = !isOnly && ['caption', 'redo', 'retry', 'look', 'write'].every((name) => !(name in actions));
    if (isQuiet) return;
    await write(this.#environment.stderr, planText(found, batch.measuredRate()));
    if (isOnly && this.#passedOver > 0) {
      const others = `${this.#passedOver} files were passed over because of their extension (--extensions).`;
      await write(this.#environment.stderr, `${others}\n`);
    }
    const run = {
      keepsOthers: this.#flags.keep,
      total: found.listed,
      toCaption: found.toCaption - (this.#flags.keep ? found.otherSettings : 0),
      onProgress: this.#showProgress,
    };
    await batch.run(run, (report) => this.#report(report, batch.failuresFile));
  }

  readonly #showProgress = (facts: ProgressFacts): void => {
    const nowMs = performance.now();
    if (!this.#environment.stderrIsTerminal && nowMs - this.#shownMs < LOG_PROGRESS_MS) return;
    this.#shownMs = nowMs;
    this.#progress.show(progressText(facts));
  };

  async #report(report: Report, failuresFile: string): Promise<void> {
    this.#progress.clear();
    const { stdout } = this.#environment;
    if (this.#flags.json) await writeJson(stdout, snakeCase(report));
    else await write(stdout, reportText(report, shownPath, failuresFile));
    const [code] = Object.keys(report.failures) as ErrorCode[];
    if (code !== undefined && !this.#signal.aborted) this.#status.fail(ERRORS[code].exit);
  }

  async #watch(batch: Batch, settling: Settling): Promise<void> {
    while (!this.#signal.aborted) {
      const startedMs = performance.now();
      await this.#round(batch, false);
      settling.turn();
      const pauseMs = Math.max((this.#flags.settle * 1000) / 2, 9 * Math.min(performance.now() - startedMs, 10_000));
      await sleep(pauseMs, undefined, { signal: this.#signal }).catch(() => undefined);
    }
  }

  /** Captions of two models or prompts are never mixed unless a person says so. */
  #refuseMixing({ otherSettings, actions }: Survey): void {
    if (otherSettings === 0 || this.#flags.redo || this.#flags.keep) return;
    const reasons = Object.keys(actions.redo ?? {}).join('; ');
    throw new AvocadoError(
      'bad_request',
      `${otherSettings} items have captions of other settings (${reasons}). ` +
        'Give --redo to caption them again, or --keep to leave them and caption the others.',
    );
  }
}

async function copy(from: string, to: string): Promise<void> {
  const { copyFile } = await import('node:fs/promises');
  await copyFile(from, to);
}

/** What would be done, and how long it takes as far as that is known. */
function planText(found: Survey, hoursAnHour: number | undefined): string {
  const { listed, actions, toCaption, likelyDuplicates, sampled, mediaSeconds } = found;
  const lines = [`${listed} entries`];
  for (const [action, reasons] of Object.entries(actions))
    for (const [reason, count] of Object.entries(reasons)) lines.push(`  ${count} ${action}: ${reason}`);
  if (likelyDuplicates !== undefined && likelyDuplicates > 0)
    lines.push(`  about ${likelyDuplicates} of them have the same bytes as another`);
  if (sampled.files > 0) {
    const isAll = sampled.files >= toCaption;
    const from = isAll ? '' : `, from ${sampled.files} of them`;
    lines.push(`${isAll ? '' : 'about '}${durationText(mediaSeconds ?? 0)} of media to caption${from}`);
    if (sampled.unreadable > 0) lines.push(`${sampled.unreadable} of ${sampled.files} that were opened cannot be read`);
  }
  if (toCaption > 0 && mediaSeconds !== undefined) {
    lines.push(
      hoursAnHour === undefined
        ? 'how long it takes is told while it runs: this machine has not been measured yet'
        : `about ${durationText(mediaSeconds / hoursAnHour)} of work: ${hoursAnHour.toFixed(1)} hours an hour in the last run`,
    );
  }
  return `${lines.join('\n')}\n`;
}
