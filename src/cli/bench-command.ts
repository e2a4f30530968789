import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import { AvocadoError, ERRORS } from '../base/errors.ts';
import type { ClipFile } from '../lab/loadtest/load-test.ts';
import { snakeCase } from '../output/caption-answer.ts';
import { defaultModelDirectory } from '../base/package-files.ts';
import { serverAddress } from './flag-values.ts';
import { numberValue, wholeNumber } from './flags.ts';
import type { ExitStatus, CliEnvironment } from './cli-environment.ts';
import { write, writeJson } from './terminal.ts';

interface BenchFlags {
  readonly url: string;
  readonly apiKey?: string;
  readonly concurrency: readonly number[];
  readonly requests: number;
  readonly leaving: number;
  readonly maxTokens?: number;
  readonly seed: number;
}

function levelList(text: string): readonly number[] {
  return text.split(',').map(wholeNumber(1, 10_000));
}

function share(text: string): number {
  const value = numberValue(text);
  if (value >= 0 && value <= 1) return value;
  throw new InvalidArgumentError('It must be from 0 to 1.');
}

export function addBenchCommand(program: Command, environment: CliEnvironment, status: ExitStatus): void {
  const bench = program.command('bench').description('load and speed tests');
  bench
    .command('serve [clips...]')
    .description('load test of a running server: each client sends its next clip when its last caption has ended')
    .option('--url <url>', 'the server', serverAddress, 'http://127.0.0.1:8080')
    .option('--api-key <key>', 'bearer key of the server')
    .option('--concurrency <list>', 'numbers of clients, one level after another', levelList, [1, 2, 4, 8])
    .option('--requests <n>', 'requests per client at each level', wholeNumber(1), 8)
    .option('--leaving <share>', 'share of the requests whose client disconnects at a random moment, 0 to 1', share, 0)
    .option('--max-tokens <n>', 'maximum tokens of a caption', wholeNumber(1))
    .option('--seed <n>', 'seed of the order of clips and of the disconnects', wholeNumber(0), 1)
    .action(async (clips: readonly string[], flags: BenchFlags) => {
      await benchServe(clips, flags, environment, status);
    });
}

/** Files, and the clips in directories; without paths, the sample clips of the package. */
async function readClips(paths: readonly string[]): Promise<ClipFile[]> {
  const files: string[] = [];
  for (const path of paths.length === 0 ? [join(defaultModelDirectory(), 'examples')] : paths) {
    const found = await stat(path).catch((cause: unknown) => {
      throw new AvocadoError('media_not_found', `There is no file or directory ${path}.`, { cause });
    });
    if (found.isDirectory())
      files.push(
        ...(await readdir(path))
          .filter((name) => /\.(mp4|mkv|webm|mov)$/i.test(name))
          .sort()
          .map((name) => join(path, name)),
      );
    else files.push(path);
  }
  if (files.length === 0)
    throw new AvocadoError('bad_request', 'There are no clips in these directories: name video files.');
  return Promise.all(files.map(readClip));
}

async function readClip(path: string): Promise<ClipFile> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    const { code = String(cause) } = cause as NodeJS.ErrnoException;
    throw new AvocadoError('media_not_a_file', `${path} cannot be read (${code}). Name video files.`, { cause });
  });
  return { name: basename(path), bytes: Uint8Array.from(bytes) };
}

async function checkServer(url: string): Promise<void> {
  const ready = await fetch(`${url}/readyz`).catch((cause: unknown) => {
    throw new AvocadoError(
      'engine_unavailable',
      `Nothing answers at ${url}. Start a server with \`avocado serve\`, or name one with --url.`,
      { cause, param: 'url' },
    );
  });
  if (!ready.ok)
    throw new AvocadoError('engine_unavailable', `The server at ${url} is not ready: ${await ready.text()}`, {
      param: 'url',
    });
}

async function benchServe(
  paths: readonly string[],
  flags: BenchFlags,
  environment: CliEnvironment,
  status: ExitStatus,
): Promise<void> {
  const [{ levelTable, runLevel, summarise }, { clipSender }] = await Promise.all([
    import('../lab/loadtest/load-test.ts'),
    import('../lab/loadtest/caption-client.ts'),
  ]);
  const clips = await readClips(paths);
  const { url } = flags;
  await checkServer(url);
  const signal = environment.interruption();
  const send = clipSender({
    url,
    apiKey: flags.apiKey,
    fields: flags.maxTokens === undefined ? {} : { max_tokens: String(flags.maxTokens) },
  });
  const levels = [];
  for (const concurrency of flags.concurrency) {
    if (signal.aborted) break;
    const options = { concurrency, requests: flags.requests * concurrency, leaving: flags.leaving, seed: flags.seed };
    levels.push(summarise(await runLevel(clips, send, options, signal)));
  }
  await write(environment.stdout, `${levelTable(levels)}\n`);
  await writeJson(environment.stdout, snakeCase({ url, clips: clips.length, levels }));
  if (signal.aborted) status.fail(130);
  else if (levels.some(({ failed }) => Object.keys(failed).length > 0)) status.fail(ERRORS.engine_error.exit);
}
