import { Option, type Command } from 'commander';
import type { InspectStage } from '../captioner/inspect.ts';
import { snakeCase } from '../output/caption-answer.ts';
import { inspectTable } from './inspect-table.ts';
import { addModelFlags, openOptions, type ModelFlags } from './model-flags.ts';
import { ProgressLine } from './progress-line.ts';
import { addRequestFlags, requestFromFlags } from './request-flags.ts';
import { write, writeJson } from './write.ts';
import type { Wiring } from './wiring.ts';

interface InspectFlags extends ModelFlags {
  readonly json: boolean;
  readonly verbose: boolean;
  readonly dump?: string;
  readonly stage?: InspectStage;
}

const STAGES: readonly InspectStage[] = ['plan', 'features', 'towers', 'logits'];

export function addInspectCommand(program: Command, wiring: Wiring): void {
  const command = program
    .command('inspect')
    .description('show what would be fed to the model, without a caption')
    .argument('<file>');
  addModelFlags(addRequestFlags(command))
    .option('--json', 'one JSON object on stdout, nothing else', false)
    .option('--dump <file>', 'write the tensors to a safetensors file')
    .addOption(new Option('--stage <name>', 'how far to go (default: plan; logits with --dump)').choices(STAGES))
    .option('--verbose', 'progress on stderr even when it is not a terminal', false)
    .action(async (file: string, flags: InspectFlags) => {
      await inspectFile(file, flags, wiring);
    });
}

async function inspectFile(file: string, flags: InspectFlags, wiring: Wiring): Promise<void> {
  const request = requestFromFlags(file, flags as unknown as Record<string, unknown>);
  const progress = new ProgressLine(wiring.stderr, { terminal: wiring.stderrIsTerminal, verbose: flags.verbose });
  const asked = flags.stage ?? (flags.dump === undefined ? 'plan' : 'logits');
  // A plan has no tensors: the first stage that has some is what a dump of it can mean.
  const stage = asked === 'plan' && flags.dump !== undefined ? 'features' : asked;
  const options = { ...openOptions(flags, 1, progress.show.bind(progress)), stage, dump: flags.dump };
  const report = await wiring.inspect(request, options, wiring.interruption()).finally(() => {
    progress.clear();
  });
  if (flags.json) await writeJson(wiring.stdout, snakeCase(report));
  else await write(wiring.stdout, inspectTable(report));
}
