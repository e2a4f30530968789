import { Option, type Command } from 'commander';
import type { Precision } from '../model/checkpoint/config-types.ts';
import type { Device } from '../model/runtime/runtime.ts';
import type { OpenOptions } from '../captioner/open-model.ts';
import { defaultModelDirectory } from './default-model.ts';
import { deviceValue, precisionValue, wholeNumber } from './flag-values.ts';
import type { OnProgress } from './wiring.ts';

export interface ModelFlags {
  readonly model: string;
  readonly precision?: Precision;
  readonly device: Device;
  readonly runtime?: 'native' | 'node';
  readonly threads: number;
  readonly spinning: boolean;
  readonly context?: number;
  readonly cacheDir?: string;
}

/** Which model, where it runs, and with how much of the machine. */
export function addModelFlags(command: Command): Command {
  return command
    .option('--model <dir>', 'checkpoint or export directory', defaultModelDirectory())
    .option('--precision <name>', 'fp32, int4, bf16 or fp16 (default: fp32 on a CPU, bf16 on CUDA)', precisionValue)
    .addOption(new Option('--device <name>', 'cpu or cuda[:N]').argParser(deviceValue).default({ type: 'cpu' }, 'cpu'))
    .addOption(
      new Option('--runtime <name>', 'native or node (default: native where its addon is built)').choices([
        'native',
        'node',
      ]),
    )
    .option('--threads <n>', 'threads of the model, 0 = all cores', wholeNumber(0, 1024), 0)
    .option('--spinning', 'keep waiting threads busy: faster on an idle machine, slower beside other work', false)
    .option('--context <tokens>', 'most tokens of prompt and caption together', wholeNumber(64))
    .option('--cache-dir <dir>', 'where exports of a checkpoint are kept');
}

export function openOptions(flags: ModelFlags, slots: number, onProgress?: OnProgress): OpenOptions {
  return {
    modelDir: flags.model,
    precision: flags.precision,
    device: flags.device,
    runtime: flags.runtime,
    threads: flags.threads,
    spinning: flags.spinning,
    slots,
    context: flags.context,
    cacheDir: flags.cacheDir,
    onProgress,
  };
}
