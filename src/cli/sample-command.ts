import { randomInt } from 'node:crypto';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { AvocadoError } from '../base/errors.ts';
import { numberValue, wholeNumber } from './flags.ts';
import type { FilmOptions } from '../lab/synthetic/sample-film.ts';
import type { Geometry } from '../lab/synthetic/script.ts';
import type { CliEnvironment } from './cli-environment.ts';
import { write } from './terminal.ts';

interface SampleFlags {
  readonly seed?: number;
  readonly seconds?: number;
  readonly size?: string;
  readonly objects?: number;
  readonly sound: boolean;
  readonly film?: number;
  readonly level: 'easy' | 'hard';
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
    .addOption(
      new Option(
        '--level <level>',
        'hard: two to five shots with cuts and fades, camera moves, people, sounds at the same time, music; ' +
          'avocado-nano was not trained on it',
      )
        .choices(['easy', 'hard'])
        .default('easy'),
    )
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
  const seed = flags.seed ?? randomInt(1_000_000);
  refuseTogether(flags);
  if (flags.film !== undefined) {
    const { seconds } = flags;
    const clipSeconds = seconds === undefined ? undefined : ([seconds, seconds] as const);
    await film({ seed, minutes: flags.film, size: flags.size, clipSeconds }, out, environment);
    return;
  }
  const { truthPath } = await import('../lab/synthetic/write-clip.ts');
  const { caption, script } = await made({ ...flags, seed }, out, environment.interruption());
  const [width, height] = script.size;
  const seconds = Number(script.duration.toFixed(2));
  await write(
    environment.stdout,
    [
      `seed ${seed}: ${seconds} s, ${width}x${height}, ${script.fps} frames/s; contents, also in ` +
        `${truthPath(out)}:`,
      caption,
      `To caption it: npx avocado caption ${out}`,
      '',
    ].join('\n'),
  );
}

const GIVEN: Readonly<Record<string, (flags: SampleFlags) => boolean>> = {
  '--seconds': ({ seconds }) => seconds !== undefined,
  '--objects': ({ objects }) => objects !== undefined,
  '--no-sound': ({ sound }) => !sound,
  '--film': ({ film: minutes }) => minutes !== undefined,
  '--level hard': ({ level }) => level === 'hard',
};

/** The first draws the second itself, or has no other. */
const APART = [
  ['--level hard', '--seconds'],
  ['--level hard', '--objects'],
  ['--level hard', '--film'],
  ['--film', '--objects'],
  ['--film', '--no-sound'],
] as const;

function refuseTogether(flags: SampleFlags): void {
  const found = APART.find((pair) => pair.every((name) => GIVEN[name]?.(flags) === true));
  if (found !== undefined)
    throw new AvocadoError('bad_request', `${found[1]} cannot be combined with ${found[0]}. Leave one of them out.`, {
      param: found[1].slice(2),
    });
}

async function made(
  flags: SampleFlags & { readonly seed: number },
  out: string,
  signal: AbortSignal,
): Promise<{ readonly caption: string; readonly script: Geometry }> {
  if (flags.level === 'hard') {
    const { sampleHardClip } = await import('../lab/synthetic/hard/sample-hard-clip.ts');
    return sampleHardClip(flags, out, signal);
  }
  const { sampleClip } = await import('../lab/synthetic/sample-clip.ts');
  return sampleClip(flags, out, signal);
}

async function film(options: FilmOptions, out: string, environment: CliEnvironment): Promise<void> {
  const { sampleFilm } = await import('../lab/synthetic/sample-film.ts');
  const { truthPath } = await import('../lab/synthetic/write-clip.ts');
  const shots = await sampleFilm(options, out, environment.interruption());
  const seconds = shots.at(-1)?.end ?? 0;
  await write(
    environment.stdout,
    `seed ${options.seed}: ${shots.length} clips, ${seconds} s; their contents are in ${truthPath(out)}\n` +
      `To caption it: npx avocado caption ${out} --segments auto\n`,
  );
}
