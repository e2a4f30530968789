import { Option, type Command } from 'commander';
import type { InspectStage } from '../captioner/inspect.ts';
import { snakeCase } from '../output/caption-answer.ts';
import { MODEL_SETTINGS } from '../settings/schema.ts';
import { addRequestFlags, addSettingFlags, oneCaptionSettings, requestFromFlags, type Flags } from './flags.ts';
import { inspectTable } from './inspect-table.ts';
import { ProgressLine } from './progress-line.ts';
import { write, writeJson } from './write.ts';
import type { CliEnvironment } from './cli-environment.ts';

interface InspectFlags extends Flags {
  readonly json: boolean;
  readonly verbose: boolean;
  readonly dump?: string;
  readonly stage?: InspectStage;
}

const STAGES: readonly InspectStage[] = ['plan', 'features', 'towers', 'logits'];

export function addInspectCommand(program: Command, environment: CliEnvironment): void {
  const command = program
    .command('inspect')
    .description('show what would be fed to the model, without a caption')
    .argument('<file>');
  addSettingFlags(addRequestFlags(command), MODEL_SETTINGS)
    .option('--json', 'one JSON object on stdout, nothing else', false)
    .option('--dump <file>', 'write the tensors to a safetensors file')
    .addOption(new Option('--stage <name>', 'how far to go (default: plan; logits with --dump)').choices(STAGES))
    .option('--verbose', 'progress on stderr even when it is not a terminal', false)
    .action(async (file: string, flags: InspectFlags) => {
      await inspectFile(file, flags, environment);
    });
}

async function inspectFile(file: string, flags: InspectFlags, environment: CliEnvironment): Promise<void> {
  const request = requestFromFlags(file, flags);
  const settings = await oneCaptionSettings(flags, environment);
  const progress = new ProgressLine(environment.stderr, {
    terminal: environment.stderrIsTerminal,
    verbose: flags.verbose,
  });
  const asked = flags.stage ?? (flags.dump === undefined ? 'plan' : 'logits');
  // A plan has no tensors, so its dump goes on to the first stage that has some.
  const stage = asked === 'plan' && flags.dump !== undefined ? 'features' : asked;
  const options = { ...settings, onProgress: progress.show.bind(progress), stage, dump: flags.dump };
  const report = await environment.inspect(request, options, environment.interruption()).finally(() => {
    progress.clear();
  });
  if (flags.json) await writeJson(environment.stdout, snakeCase(report));
  else await write(environment.stdout, inspectTable(report));
}
