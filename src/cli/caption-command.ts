import { stat } from 'node:fs/promises';
import { Option, type Command } from 'commander';
import { asAvocadoError, AvocadoError, ERRORS } from '../base/errors.ts';
import { captionEvents } from '../captioner/captioner.ts';
import { mergingCaptioner, type MergeOptions } from '../captioner/merging-captioner.ts';
import { captionAnswer, errorAnswer } from '../output/caption-answer.ts';
import { markdownText, srtText, timelineHeading, vttText, wholeCaption, withScenes } from '../output/subtitles.ts';
import type { CaptionEnd, CaptionEvent, CaptionRequest, Sample } from '../output/events.ts';
import type { EngineSettings } from '../settings/engine-settings.ts';
import { MERGE_SETTINGS } from '../settings/merge-settings.ts';
import { MODEL_SETTINGS } from '../settings/schema.ts';
import type { CliEnvironment, ExitStatus } from './cli-environment.ts';
import { CommandFiles, isPath, named } from './command-files.ts';
import {
  addRequestFlags,
  addSettingFlags,
  FILE_LIMITS,
  oneCaptionSettings,
  readFlags,
  requestFromFlags,
  type Flags,
} from './flags.ts';
import { openMerge } from './judge-flags.ts';
import { ProgressLine, reportError, warn, write, writeJson } from './terminal.ts';
import { addVerifyFlags, openVerifier, type Checked } from './verify-flags.ts';

const FORMATS = ['text', 'json', 'vtt', 'srt', 'md'] as const;
type CaptionFormat = (typeof FORMATS)[number];

interface CaptionFlags extends Flags {
  readonly json: boolean;
  readonly tokenIds: boolean;
  readonly verbose: boolean;
  readonly format?: CaptionFormat;
  readonly n?: number;
}

export function addCaptionCommand(program: Command, environment: CliEnvironment, status: ExitStatus): void {
  const command = program
    .command('caption')
    .description('tell what is seen and heard in videos, pictures or sound files')
    .argument('<file...>', 'path, https: or http: address, or - for standard input');
  addVerifyFlags(addSettingFlags(addRequestFlags(command), [...MODEL_SETTINGS, ...FILE_LIMITS, ...MERGE_SETTINGS]))
    .option('--json', 'one JSON object a file on stdout, nothing else; the same as --format json', false)
    .addOption(
      new Option('--format <name>', 'what is written: plain text, JSON, subtitles or Markdown').choices(FORMATS),
    )
    .option('--token-ids', 'with --json: also token ids and log-probabilities', false)
    .option('--verbose', 'progress and numbers on stderr even when it is not a terminal', false)
    .action(async (files: readonly string[], given: CaptionFlags) => {
      const flags = { ...given, json: given.json || given.format === 'json' };
      checkFormat(given, files.length);
      const requests = files.map((file) => requestFromFlags(file, flags));
      const settings = await oneCaptionSettings(flags, environment);
      const merge = await openMerge(await readFlags(MERGE_SETTINGS, flags, environment));
      if (await noneExists(requests)) await reportMissing(requests, flags, environment, status);
      else await captionAll(requests, { flags, settings, merge }, environment, status);
    });
}

/** @throws AvocadoError `bad_request` for flags of which one would be ignored, and for two documents in one */
function checkFormat({ json, format, n, tokenIds }: CaptionFlags, files: number): void {
  const refuse = (sentence: string): never => {
    throw new AvocadoError('bad_request', sentence, { param: 'format' });
  };
  if (tokenIds && !json && format !== 'json')
    refuse('--token-ids needs --json: the other formats have no room for them.');
  if (format === undefined || format === 'json') return;
  if (json) refuse(`--json and --format ${format} exclude each other: give one of them.`);
  if (format !== 'text' && n !== undefined && n > 1)
    refuse(`--format ${format} has room for one caption: leave out --n, or choose text or json.`);
  if (files > 1 && (format === 'vtt' || format === 'srt'))
    refuse(`--format ${format} makes one document: name one file, or let avocado batch write one beside each.`);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: unknown) => (error as NodeJS.ErrnoException).code !== 'ENOENT',
  );
}

/** Loading a model can take minutes, so files are looked for first. */
async function noneExists(requests: readonly CaptionRequest[]): Promise<boolean> {
  if (!requests.every(({ path }) => isPath(path))) return false;
  const found = await Promise.all(requests.map(({ path }) => exists(path)));
  return !found.includes(true);
}

async function reportMissing(
  requests: readonly CaptionRequest[],
  { json }: CaptionFlags,
  environment: CliEnvironment,
  status: ExitStatus,
): Promise<void> {
  for (const { path } of requests) {
    const error = new AvocadoError('media_not_found', `There is no file ${path}. Check the path.`, { param: 'file' });
    status.fail(await reportError(error, environment, { json, file: path }));
  }
}

async function captionAll(
  requests: readonly CaptionRequest[],
  {
    flags,
    settings,
    merge,
  }: { readonly flags: CaptionFlags; readonly settings: EngineSettings; readonly merge: MergeOptions | undefined },
  environment: CliEnvironment,
  status: ExitStatus,
): Promise<void> {
  const signal = environment.interruption();
  const progress = new ProgressLine(environment, flags);
  const verifier = await openVerifier(flags, progress.tell);
  const opening = environment.openCaptioner(settings, progress.show);
  const opened = await orInterrupted(opening, signal, (late) => late.close()).finally(progress.clear);
  const { json, tokenIds, format = 'text' } = flags;
  // Subtitles and Markdown are made of the segments.
  const captioner = mergingCaptioner(opened, json || format === 'text' ? merge : undefined);
  const heading = requests.length > 1;
  const files = new CommandFiles(environment.stdin);
  try {
    for (const request of requests) {
      if (signal.aborted) throw interrupted();
      const file = request.path;
      const shape = {
        json,
        tokenIds,
        format,
        heading: heading && format === 'text',
        grows: verifier?.cleans !== true && (merge === undefined || request.segments === undefined),
        samples: request.samples,
        model: captioner.model.name,
      };
      const printer = new CaptionPrinter(environment, progress, shape);
      const exitCode = await files
        .withPath(file, signal, (path) => {
          const own = { ...request, path };
          const check: Check = async (end) => {
            if (verifier !== undefined) progress.show('verify');
            return verifier?.check(captioner, own, end, signal);
          };
          return printer.print(file, named(captionEvents(captioner, own, signal), path, file), check);
        })
        .catch((thrown: unknown) => reportError(signal.aborted ? interrupted() : thrown, environment, { json, file }));
      if (exitCode !== 0) status.fail(exitCode);
      if (exitCode === ERRORS.aborted.exit) return;
    }
  } finally {
    await captioner.close();
    await files.close();
  }
}

/** @returns the error of Ctrl-C, for a signal that has been aborted */
function interrupted(): AvocadoError {
  return new AvocadoError('aborted', 'Interrupted: nothing was kept.');
}

/**
 * Waits for work that cannot be cancelled, until the signal aborts. A result that comes after that goes to `discard`.
 * @throws AvocadoError `aborted`
 */
function orInterrupted<T>(work: Promise<T>, signal: AbortSignal, discard: (late: T) => Promise<void>): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      reject(interrupted());
      work.then(discard).catch(() => undefined); // the command has ended: a later failure is not reported
    };
    if (signal.aborted) {
      leave();
      return;
    }
    signal.addEventListener('abort', leave, { once: true });
    work.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', leave);
    });
  });
}

/** What becomes of a caption before it is told; undefined = it is told as it is. */
type Check = (end: CaptionEnd) => Promise<Checked | undefined>;

interface PrinterOptions {
  readonly format: CaptionFormat;
  readonly json: boolean;
  readonly tokenIds: boolean;
  /** a line with the file's name before its caption */
  readonly heading: boolean;
  /** false: what is told is known only when the caption has been merged or checked */
  readonly grows: boolean;
  /** several captions grow at the same time, so they are printed when all are done */
  readonly samples: number;
  readonly model: string;
}

function summary(end: CaptionEnd): string {
  const { media, usage, timings } = end;
  const seen =
    media.video === undefined
      ? 'nothing seen'
      : `${media.video.frames} frames of ${media.video.width}x${media.video.height} seen`;
  const heard = media.audio.used
    ? `${media.audio.seconds.toFixed(1)} s heard`
    : media.audio.present
      ? 'sound not listened to'
      : 'no sound';
  const endings = [end, ...end.others].map(({ finishReason }) => finishReason).join(', ');
  const tokens = `${usage.promptTokens} tokens in, ${usage.completionTokens} out (${endings})`;
  const speed = timings.tokensPerSecond === undefined ? '' : `, ${timings.tokensPerSecond.toFixed(1)} tokens/s`;
  return `${seen}, ${heard}; ${tokens}; ${timings.totalSeconds.toFixed(2)} s${speed}; profile ${end.profile}`;
}

/** Several captions of one file, each under its number. */
function listOf(samples: readonly Sample[]): string {
  return samples.map(({ caption }, index) => `-- ${index + 1} of ${samples.length} --\n${caption}\n`).join('');
}

/** A caption in one piece is one cue. */
function documentOf(
  format: Exclude<CaptionFormat, 'text'>,
  file: string,
  { segments, media, caption }: CaptionEnd,
): string {
  const parts = segments === undefined ? [wholeCaption(caption, media)] : withScenes(segments);
  if (format === 'md') return markdownText(parts, file);
  return format === 'srt' ? srtText(parts) : vttText(parts);
}

/** The events of one caption as text that grows on stdout, or as one line of JSON. */
class CaptionPrinter {
  readonly #environment: CliEnvironment;
  readonly #progress: ProgressLine;
  readonly #options: PrinterOptions;
  #midLine = false;

  constructor(environment: CliEnvironment, progress: ProgressLine, options: PrinterOptions) {
    this.#environment = environment;
    this.#progress = progress;
    this.#options = options;
  }

  /** @returns 0, or the exit code of the error that was reported */
  async print(file: string, events: AsyncIterable<CaptionEvent>, check: Check): Promise<number> {
    if (this.#options.heading && !this.#options.json) await write(this.#environment.stdout, `== ${file} ==\n`);
    let exitCode = 0;
    for await (const event of events) exitCode = await this.#printEvent(file, event, check);
    return exitCode;
  }

  async #printEvent(file: string, event: CaptionEvent, check: Check): Promise<number> {
    switch (event.type) {
      case 'stage':
        if (!this.#midLine) this.#progress.show(event.stage, event.done, event.total);
        return 0;
      case 'media':
        if (!this.#options.json) {
          this.#progress.clear();
          await warn(this.#environment.stderr, event.media.warnings);
        }
        return 0;
      case 'segment-start':
        await this.#grow(timelineHeading(event, event.index === 0));
        return 0;
      case 'segment-end':
        return 0;
      case 'text-delta':
        await this.#grow(event.text);
        return 0;
      case 'caption-end':
        return this.#end(file, event, check);
      case 'caption-error':
        return this.#fail(
          file,
          new AvocadoError(event.code, event.message, event.param === undefined ? {} : { param: event.param }),
        );
      case 'caption-aborted':
        return this.#fail(file, interrupted());
      default:
        return event satisfies never;
    }
  }

  async #grow(text: string): Promise<void> {
    const { json, format, samples, grows } = this.#options;
    if (json || format !== 'text' || samples > 1 || !grows || text === '') return;
    this.#progress.clear();
    this.#midLine = true;
    await write(this.#environment.stdout, text);
  }

  /** A caption that could not be checked is told all the same, and then the error. */
  async #end(file: string, told: CaptionEnd, check: Check): Promise<number> {
    const { stdout, stderr } = this.#environment;
    const { json, format, grows, model } = this.#options;
    this.#progress.clear();
    if (grows && format === 'text' && !json && told.others.length === 0) await write(stdout, '\n');
    this.#midLine = false;
    let failure: AvocadoError | undefined;
    const checked = await check(told).catch((thrown: unknown) => {
      failure = asAvocadoError(thrown);
      return undefined;
    });
    const { end = told, verification, sentences = [] } = checked ?? {};
    this.#progress.clear();
    if (json) {
      const fields = failure === undefined ? { verification } : { verification: errorAnswer(failure) };
      await writeJson(stdout, { file, ...captionAnswer(end, model, this.#options), ...fields });
    } else if (format !== 'text') await write(stdout, documentOf(format, file, end));
    else if (end.others.length > 0) await write(stdout, listOf([end, ...end.others]));
    else if (!grows) await write(stdout, `${end.caption}\n`);
    if (!json) await warn(stderr, sentences);
    this.#progress.note(summary(end));
    return failure === undefined ? 0 : reportError(failure, this.#environment, { json: false, file });
  }

  async #fail(file: string, error: AvocadoError): Promise<number> {
    this.#progress.clear();
    if (this.#midLine) await write(this.#environment.stdout, '\n');
    return reportError(error, this.#environment, { json: this.#options.json, file });
  }
}
