import { randomInt } from 'node:crypto';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { AvocadoError } from '../base/errors.ts';
import { numberValue, wholeNumber } from './flags.ts';
import type { FilmOptions } from '../lab/synthetic/sample-film.ts';
import type { CliEnvironment } from './cli-environment.ts';
import { write } from './terminal.ts';

interface SampleFlags {
  readonly seed?: number;
  readonly seconds?: number;
  readonly size?: string;
  readonly objects?: number;
  readonly sound: boolean;
  readonly film?: number;
}

/** The range of avocado-nano's training clips. */
const SECONDS = { least: 3, most: 16 };

function clipSeconds(text: string): number {
  const value = numberValue(text);
  if (value >= SECONDS.least && value <= SECONDS.most) return value;
  throw new InvalidArgumentError(`It must be from ${SECONDS.least} to ${SECONDS.most}.`);
}

/** Sound and truth of a film are in memory while it is made. */
const MOST_MINUTES = 240;

function filmMinutes(text: string): number {
  const value = numberValue(text);
  if (value > 0 && value <= MOST_MINUTES) return value;
  throw new InvalidArgumentError(`It must be above 0 and at most ${MOST_MINUTES}.`);
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
    .option('--film <minutes>', 'clips one after the other for so many minutes, with the truth about each', filmMinutes)
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
  if (flags.film !== undefined) {
    const { seconds } = flags;
    const clipSeconds = seconds === undefined ? undefined : ([seconds, seconds] as const);
    await film({ seed, minutes: flags.film, size: flags.size, clipSeconds }, out, environment);
    return;
  }
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

async function film(options: FilmOptions, out: string, environment: CliEnvironment): Promise<void> {
  const { sampleFilm } = await import('../lab/synthetic/sample-film.ts');
  const { truthPath } = await import('../lab/synthetic/sample-clip.ts');
  const shots = await sampleFilm(options, out, environment.interruption());
  const seconds = shots.at(-1)?.end ?? 0;
  await write(
    environment.stdout,
    `seed ${options.seed}: ${shots.length} clips, ${seconds} s; their contents are in ${truthPath(out)}\n` +
      `To caption it: npx avocado caption ${out} --segments auto\n`,
  );
}
