import type { Command } from 'commander';
import { SingleBar } from 'cli-progress';
import { AvocadoError } from '../base/errors.ts';
import { readSettings } from '../settings/read-settings.ts';
import { write } from './terminal.ts';
import type { CliEnvironment } from './cli-environment.ts';

interface ExportFlags {
  readonly precision?: string;
  readonly device?: string;
  readonly out?: string;
}

export function addExportCommand(program: Command, environment: CliEnvironment): void {
  program
    .command('export')
    .description('build the ONNX graphs of a checkpoint')
    .argument('<checkpoint>')
    .option('--precision <name>', 'fp32, int8, int4, bf16 or fp16')
    .option('--device <name>', 'cpu or cuda: int8 and int4 are laid out for the one that runs them (default: cpu)')
    .option('--out <dir>', 'where to write (default: the cache directory)')
    .action(async (checkpoint: string, flags: ExportFlags) => {
      const sources = { flags: { precision: flags.precision, device: flags.device }, variables: {}, file: undefined };
      const {
        precision,
        device: [device],
      } = readSettings(['precision', 'device'], sources).values;
      if (precision === undefined)
        throw new AvocadoError('bad_request', '--precision is missing: give fp32, int8, int4, bf16 or fp16.', {
          param: 'precision',
        });
      const bar = new ExportBar(environment);
      try {
        const directory = await environment.exportModel(checkpoint, precision, flags.out, {
          device: device?.type ?? 'cpu',
          onProgress: bar.update,
          signal: environment.interruption(),
        });
        bar.stop();
        await write(environment.stdout, `${directory}\n`);
      } finally {
        bar.stop();
      }
    });
}

/** A bar on a terminal, a line every few seconds in a log. Starts with the first number. */
class ExportBar {
  readonly #bar: SingleBar;
  #total = 0;

  constructor(environment: CliEnvironment) {
    // cli-progress asks its stream whether it is a terminal; without one it prints a line every two seconds.
    this.#bar = new SingleBar({
      stream: environment.stderr,
      format: 'quantising {bar} {percentage}%, {eta_formatted} left',
      noTTYOutput: true,
      notTTYSchedule: 2000,
      hideCursor: true,
    });
  }

  readonly update = (done: number, total: number): void => {
    if (this.#total === 0) this.#bar.start(total, done);
    if (total !== this.#total) this.#bar.setTotal(total);
    this.#total = total;
    this.#bar.update(done);
  };

  stop(): void {
    if (this.#total > 0) this.#bar.stop();
    this.#total = 0;
  }
}
