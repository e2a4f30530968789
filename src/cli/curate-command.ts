import { resolve } from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import { AvocadoError, ERRORS } from '../base/errors.ts';
import { EXPORTS, type ExportName } from '../lab/curate/exporters.ts';
import type { CliEnvironment, ExitStatus } from './cli-environment.ts';
import { outputDirectory } from './flag-values.ts';
import { wholeNumber, type Flags } from './flags.ts';
import { addEndpointFlags, addPriceFlags, budgetOf, openEndpoint } from './judge-flags.ts';
import { ProgressLine, write, writeJson } from './terminal.ts';

interface CurateFlags extends Flags {
  readonly out: string;
  readonly export: readonly ExportName[];
  readonly keepFrom: number;
  readonly grpo: number;
  readonly seed: number;
  readonly json: boolean;
  readonly verbose: boolean;
}

function exportNames(text: string): readonly ExportName[] {
  return text.split(',').map((name) => {
    const found = EXPORTS.find((known) => known === name.trim());
    if (found !== undefined) return found;
    throw new InvalidArgumentError(`They must be some of ${EXPORTS.join(', ')}, with commas between.`);
  });
}

export function addCurateCommand(program: Command, environment: CliEnvironment, status: ExitStatus): void {
  const command = program
    .command('curate')
    .description('make training captions: a teacher writes and fuses them, rules and a judge choose')
    .argument('<manifest>', 'JSON lines of video, and sample_id, source, duration, prompt where they are known')
    .option('--out <dir>', 'where the set and its decisions go, and where it goes on', outputDirectory, 'curated')
    .option('--export <names>', `files for trainers: of ${EXPORTS.join(', ')}`, exportNames, EXPORTS)
    .option('--keep-from <1..5>', 'completeness that a caption needs', wholeNumber(1, 5), 4)
    .option('--grpo <n>', 'random kept samples that get keypoints and spoken lines', wholeNumber(0), 2000)
    .option('--seed <n>', 'of that choice', wholeNumber(0), 0)
    .option('--json', 'the quality card as JSON on stdout', false)
    .option('--verbose', 'progress on stderr even when it is not a terminal', false);
  addEndpointFlags(command, 'teacher', 'who writes captions, and sees and hears video');
  addPriceFlags(addEndpointFlags(command, 'judge', 'who scores completeness'), 'teacher');
  command.action(async (manifest: string, flags: CurateFlags) => {
    const progress = new ProgressLine(environment, flags);
    const { price, maxCost } = budgetOf(flags, 'teacher');
    const teacher = await openEndpoint(flags, 'teacher', progress.tell);
    const judge = await openEndpoint(flags, 'judge', progress.tell);
    if (teacher === undefined || judge === undefined)
      throw new AvocadoError('bad_request', 'Curation needs --teacher URL, who writes, and --judge URL, who scores.');
    const { runCuration, cardJson, cardText } = await import('../lab/curate/run-curation.ts');
    const card = await runCuration({
      manifest,
      out: resolve(flags.out),
      teacher: { ...teacher, price, maxCost },
      judge,
      exports: flags.export,
      keepFrom: flags.keepFrom,
      grpo: flags.grpo,
      seed: flags.seed,
      concurrency: teacher.concurrency,
      signal: environment.interruption(),
      onProgress: (done, total) => {
        progress.show('curating', done, total);
      },
    }).finally(progress.clear);
    if (flags.json) await writeJson(environment.stdout, cardJson(card));
    else await write(environment.stdout, cardText(card));
    if (card.open + card.grpoOpen > 0) status.fail(ERRORS.engine_unavailable.exit);
  });
}
