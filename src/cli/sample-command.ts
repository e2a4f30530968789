import { randomInt } from 'node:crypto';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { AvocadoError } from '../base/errors.ts';
import { numberValue, wholeNumber } from './flags.ts';
import type { CliEnvironment } from './cli-environment.ts';
import { write } from './terminal.ts';

interface SampleFlags {
  readonly seed?: number;
  readonly seconds?: number;
  readonly size?: string;
  readonly objects?: number;
  readonly sound: boolean;
}

/** The range of avocado-nano's training clips. */
const SECONDS = { least: 3, most: 16 };

function clipSeconds(text: string): number {
  const value = numberValue(text);
  if (value >= SECONDS.least && value <= SECONDS.most) return value;
  throw new InvalidArgumentError(`It must be from ${SECONDS.least} to ${SECONDS.most}.`);
}

export function addSampleCommand(program: Command, environment: CliEnvironment): void {
  program
    .command('sample <out>')
    .description('make a new clip of avocado-nano’s synthetic world, OUT.mp4, and its contents, OUT.json')
    .option('--seed <n>', 'the same seed and options give the same clip (default: a new seed)', wholeNumber(0))
    .option(
      '--seconds <s>',
      `duration, ${SECONDS.least} to ${SECONDS.most}, also fractions (default: drawn with the seed)`,
      clipSeconds,
    )
    .addOption(
      new Option('--size <ratio>', 'aspect ratio (default: drawn with the seed)').choices(['16:9', '1:1', '9:16']),
    )
    .option('--objects <n>', 'number of objects, 1 to 3 (default: 1 or 2, drawn with the seed)', wholeNumber(1, 3))
    .option('--no-sound', 'without a sound track')
    .action(async (out: string, flags: SampleFlags) => {
      await sample(out, flags, environment);
    });
}

async function sample(out: string, flags: SampleFlags, environment: CliEnvironment): Promise<void> {
  if (!/[^/\\]\.mp4$/i.test(out))
    throw new AvocadoError('bad_request', `The clip is an mp4 file: name it so, such as ${out}.mp4.`, {
      param: 'file',
    });
  const { sampleClip, truthPath } = await import('../lab/synthetic/sample-clip.ts');
  const seed = flags.seed ?? randomInt(1_000_000);
  const { caption, script } = await sampleClip({ ...flags, seed }, out, environment.interruption());
  const [width, height] = script.size;
  await write(
    environment.stdout,
    [
      `seed ${seed}: ${script.duration} s, ${width}x${height}, ${script.fps} frames/s; contents, also in ` +
        `${truthPath(out)}:`,
      caption,
      `To caption it: npx avocado caption ${out}`,
      '',
    ].join('\n'),
  );
}
