import { stat } from 'node:fs/promises';
import type { Command } from 'commander';
import { AvocadoError, ERRORS } from '../base/errors.ts';
import type { EngineSettings } from '../settings/engine-settings.ts';
import type { CaptionRequest } from '../output/events.ts';
import { CaptionPrinter } from './caption-printer.ts';
import { interrupted, orInterrupted } from './interrupted.ts';
import { MODEL_SETTINGS } from '../settings/schema.ts';
import { addRequestFlags, addSettingFlags, oneCaptionSettings, requestFromFlags, type Flags } from './flags.ts';
import { ProgressLine } from './progress-line.ts';
import { reportError } from './report-error.ts';
import type { ExitStatus, CliEnvironment } from './cli-environment.ts';

interface CaptionFlags extends Flags {
  readonly json: boolean;
  readonly tokenIds: boolean;
  readonly verbose: boolean;
}

export function addCaptionCommand(program: Command, environment: CliEnvironment, status: ExitStatus): void {
  const command = program
    .command('caption')
    .description('tell what is seen and heard in videos, pictures or sound files')
    .argument('<file...>');
  addSettingFlags(addRequestFlags(command), MODEL_SETTINGS)
    .option('--json', 'one JSON object a file on stdout, nothing else', false)
    .option('--token-ids', 'with --json: also token ids and log-probabilities', false)
    .option('--verbose', 'progress and numbers on stderr even when it is not a terminal', false)
    .action(async (files: readonly string[], flags: CaptionFlags) => {
      const requests = files.map((file) => requestFromFlags(file, flags));
      const settings = await oneCaptionSettings(flags, environment);
      await captionAll(requests, { flags, settings }, environment, status);
    });
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: unknown) => (error as NodeJS.ErrnoException).code !== 'ENOENT',
  );
}

/** Loading a model can take minutes: not for files that are not there. */
async function noneExists(requests: readonly CaptionRequest[]): Promise<boolean> {
  const found = await Promise.all(requests.map(({ path }) => exists(path)));
  return found.every((there) => !there);
}

async function captionAll(
  requests: readonly CaptionRequest[],
  { flags, settings }: { readonly flags: CaptionFlags; readonly settings: EngineSettings },
  environment: CliEnvironment,
  status: ExitStatus,
): Promise<void> {
  if (await noneExists(requests)) {
    for (const { path } of requests) {
      const error = new AvocadoError('media_not_found', `There is no file ${path}. Check the path.`, { param: 'file' });
      status.fail(await reportError(error, environment, { json: flags.json, file: path }));
    }
    return;
  }
  const signal = environment.interruption();
  const progress = new ProgressLine(environment.stderr, {
    terminal: environment.stderrIsTerminal,
    verbose: flags.verbose,
  });
  const opening = environment.openCaptioner({ ...settings, onProgress: progress.show.bind(progress) });
  const captioner = await orInterrupted(opening, signal, (late) => late.close()).finally(() => {
    progress.clear();
  });
  try {
    for (const request of requests) {
      if (signal.aborted) throw interrupted();
      const { json, tokenIds } = flags;
      const shape = {
        json,
        tokenIds,
        heading: requests.length > 1,
        samples: request.samples,
        model: captioner.model.name,
      };
      const printer = new CaptionPrinter(environment, progress, shape);
      const exitCode = await printer.print(request.path, captioner.caption(request, signal), signal);
      if (exitCode !== 0) status.fail(exitCode);
      if (exitCode === ERRORS.aborted.exit) return;
    }
  } finally {
    await captioner.close();
  }
}
