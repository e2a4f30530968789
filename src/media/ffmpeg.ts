// Command lines of ffmpeg and ffprobe: which program, which inputs are allowed, how output comes back.
import fluent from 'fluent-ffmpeg';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { readVariable } from '../base/env.ts';
import { AvocadoError } from '../base/errors.ts';
import { runProcess, type ChunkAnswer, type ProcessOutcome, type ProcessRun } from './ffmpeg-process.ts';

export interface FfmpegVersion {
  /** programs as they are started */
  readonly ffmpeg: string;
  readonly ffprobe: string;
  /** as ffmpeg prints it, such as 5.1.9-0+deb12u1 */
  readonly version: string;
  /** built with libsoxr, the reference's resampler */
  readonly soxr: boolean;
}

/** libavutil of ffmpeg 5.1. Builds from git print no release number, but every build prints its library versions. */
const NEEDED = { major: 57, minor: 28 };

const HOW_TO_INSTALL = 'Install it with: sudo apt-get install -y ffmpeg (or set FFMPEG_PATH and FFPROBE_PATH).';

const versions = new Map<string, Promise<FfmpegVersion>>();

function keyOf({ ffmpeg, ffprobe }: Pick<FfmpegVersion, 'ffmpeg' | 'ffprobe'>): string {
  return `${ffmpeg}\n${ffprobe}`;
}

/** Takes over what another thread of this process found: starting two programs takes a third of a second of work. */
export function shareFfmpegVersion(found: FfmpegVersion): void {
  versions.set(keyOf(found), Promise.resolve(found));
}

/**
 * Finds ffmpeg and ffprobe and checks their versions, once per thread and pair of paths.
 * @throws AvocadoError `ffmpeg_missing` when either is absent, does not run, or is older than 5.1
 */
export function ffmpegVersion(): Promise<FfmpegVersion> {
  const ffmpeg = readVariable('FFMPEG_PATH') ?? 'ffmpeg';
  const ffprobe = readVariable('FFPROBE_PATH') ?? 'ffprobe';
  const key = keyOf({ ffmpeg, ffprobe });
  const known = versions.get(key);
  if (known !== undefined) return known;
  const found = Promise.all([readBanner(ffmpeg), readBanner(ffprobe)]).then(([text]) => ({
    ffmpeg,
    ffprobe,
    version: /^ffmpeg version (\S+)/.exec(text)?.[1] ?? 'unknown',
    soxr: text.includes('--enable-libsoxr'),
  }));
  versions.set(key, found);
  // Not cached: it may be installed while this process runs.
  found.catch(() => versions.delete(key));
  return found;
}

async function readBanner(program: string): Promise<string> {
  const cannotRun = (cause: unknown): AvocadoError =>
    new AvocadoError('ffmpeg_missing', `${program} cannot be run; ffmpeg 5.1 or newer is needed. ${HOW_TO_INSTALL}`, {
      cause,
    });
  const chunks: Uint8Array[] = [];
  const { exitCode } = await runProcess({
    program,
    args: ['-version'],
    timeoutSeconds: 60, // on a machine that is very busy
    timeoutMessage: `${program} -version did not end.`,
    onChunk: (chunk) => {
      chunks.push(Uint8Array.from(chunk));
      return 'more';
    },
  }).catch((cause: unknown) => {
    throw cause instanceof AvocadoError && cause.code === 'engine_error' ? cause : cannotRun(cause);
  });
  const stdout = Buffer.concat(chunks).toString('utf8');
  if (exitCode !== 0) throw cannotRun(`exit code ${exitCode ?? 'unknown'}`);
  const [, major = 0, minor = 0] = (/^libavutil\s+(\d+)\.\s*(\d+)\./m.exec(stdout) ?? []).map(Number);
  if (major > NEEDED.major || (major === NEEDED.major && minor >= NEEDED.minor)) return stdout;
  throw new AvocadoError(
    'ffmpeg_missing',
    `${program} is too old (${stdout.split('\n')[0] ?? ''}); ffmpeg 5.1 or newer is needed. ${HOW_TO_INSTALL}`,
  );
}

/**
 * Containers that hold their media themselves. Playlists (hls, dash, concat, image2) are absent on purpose: they name
 * other files or addresses, and ffmpeg would open those, also another tenant's.
 */
const DEMUXERS = [
  ...['mov', 'matroska', 'avi', 'mpegts', 'mpeg', 'flv', 'asf', 'ogg'],
  ...['wav', 'w64', 'aiff', 'mp3', 'aac', 'flac', 'gif', 'apng'],
].join(',');

/**
 * Options in front of `-i` that limit ffmpeg and ffprobe to one local file of a known kind and a bounded picture size.
 */
function inputGuards(maxPixels: number): string[] {
  return ['-protocol_whitelist', 'file', '-format_whitelist', DEMUXERS, '-max_pixels', String(maxPixels)];
}

/**
 * ffmpeg starts one thread more than there are processors. On two of them that costs h264 of 1080p 6 % of its time. At
 * most 16, as ffmpeg.
 */
const DECODER_THREADS = ['-threads', String(Math.min(16, availableParallelism()))];

/** The path in a form that ffmpeg cannot read as an option, a protocol or a file pattern. */
export function fileUrl(path: string): string {
  return `file:${resolve(path)}`;
}

/** Options of every run of ffmpeg: it never asks, and prints only log lines of this level, each with its level. */
export function quietly(logLevel: 'error' | 'info' | 'verbose'): string[] {
  return ['-nostdin', '-hide_banner', '-nostats', '-loglevel', `level+${logLevel}`];
}

/** An outcome whose log does not name the file: messages and warnings about it may reach others who sent the same. */
function withoutPath(outcome: ProcessOutcome, path: string): ProcessOutcome {
  const name = fileUrl(path);
  const log = outcome.log.map((line) => line.replaceAll(`${name}: `, '').replaceAll(name, 'the file'));
  return { ...outcome, log };
}

interface FfmpegRun extends Pick<ProcessRun, 'timeoutSeconds' | 'signal' | 'hold' | 'onLine'> {
  readonly path: string;
  /** of this input, in front of it */
  readonly inputOptions?: readonly string[] | undefined;
  /** filters, mapping, codec and `-f`; the output comes to `onChunk` */
  readonly outputOptions: readonly string[];
  readonly logLevel: 'error' | 'info' | 'verbose';
  readonly maxPixels: number;
  readonly onChunk: (chunk: Uint8Array) => ChunkAnswer | Promise<ChunkAnswer>;
}

/**
 * Decodes one local file with ffmpeg. A damaged file is no error here: the outcome has ffmpeg's exit code and errors.
 * When the promise settles, the process is gone.
 * @throws AvocadoError `ffmpeg_missing`, `media_timeout`, `engine_error`, `aborted`; or what `onChunk` threw
 */
export async function runFfmpeg(run: FfmpegRun): Promise<ProcessOutcome> {
  const { ffmpeg } = await ffmpegVersion();
  const command = fluent()
    .input(fileUrl(run.path))
    .inputOptions(
      ...[...quietly(run.logLevel), ...inputGuards(run.maxPixels), ...DECODER_THREADS, ...(run.inputOptions ?? [])],
    )
    .outputOptions(...run.outputOptions)
    .output('pipe:1');
  const outcome = await runProcess({
    program: ffmpeg,
    args: command._getArguments(),
    timeoutSeconds: run.timeoutSeconds,
    timeoutMessage:
      `Decoding took longer than ${run.timeoutSeconds} s and was stopped. ` +
      'Give a shorter clip or one of smaller pictures.',
    signal: run.signal,
    hold: run.hold,
    onChunk: run.onChunk,
    onLine: run.onLine,
  });
  return withoutPath(outcome, run.path);
}

/**
 * Makes a file from one local file. A failing exit code is no error here. Overwrites a file of that name.
 * @throws AvocadoError `ffmpeg_missing`, `media_timeout`, `engine_error`, `aborted`
 */
export async function convertFile(
  run: Pick<FfmpegRun, 'path' | 'outputOptions' | 'maxPixels' | 'timeoutSeconds' | 'signal'> & { readonly out: string },
): Promise<ProcessOutcome> {
  const { ffmpeg } = await ffmpegVersion();
  const command = fluent()
    .input(fileUrl(run.path))
    .inputOptions(...quietly('error'), ...inputGuards(run.maxPixels))
    .outputOptions(...run.outputOptions, '-y')
    .output(fileUrl(run.out));
  const outcome = await runProcess({
    program: ffmpeg,
    args: command._getArguments(),
    timeoutSeconds: run.timeoutSeconds,
    timeoutMessage: `Converting the file took longer than ${run.timeoutSeconds} s and was stopped.`,
    signal: run.signal,
  });
  return withoutPath(outcome, run.path);
}

/**
 * A line of the log that tells of an error, but not one of another track's decoder: ffmpeg looks at all tracks before
 * it starts.
 * @param codecs of all tracks
 */
export function isErrorOf(line: string, own: string, codecs: readonly string[] = []): boolean {
  const isOther = (codec: string): boolean => codec !== own && line.startsWith(`[${codec}`);
  return /\[(error|fatal|panic)\]/.test(line) && !codecs.some(isOther);
}

interface FfprobeRun extends Pick<ProcessRun, 'timeoutSeconds' | 'signal'> {
  readonly path: string;
  /** what is printed and how */
  readonly options: readonly string[];
  readonly maxPixels: number;
  /** read further for the sizes of pictures and the rates of sound */
  readonly thorough?: boolean | undefined;
  /** gets each line of output */
  readonly onOutput: (line: string) => void;
}

/** ffmpeg looks at 5 s or 5 MB by default. A picture may have its size only in the next key frame. */
const THOROUGH = ['-analyzeduration', '60M', '-probesize', '60M'];

/**
 * Runs ffprobe on one local file. A file that it refuses is no error here: see the exit code and the log.
 * fluent-ffmpeg's own ffprobe call can neither be cancelled nor given a deadline.
 * @throws AvocadoError `ffmpeg_missing`, `media_timeout`, `engine_error`, `aborted`; or what `onOutput` threw
 */
export async function runFfprobe(run: FfprobeRun): Promise<ProcessOutcome> {
  const { ffprobe } = await ffmpegVersion();
  const lines = new LineSplitter(run.onOutput);
  const outcome = await runProcess({
    program: ffprobe,
    args: [
      ...['-hide_banner', '-loglevel', 'level+error'],
      ...(run.thorough === true ? THOROUGH : []),
      ...inputGuards(run.maxPixels),
      ...run.options,
      ...['-i', fileUrl(run.path)],
    ],
    timeoutSeconds: run.timeoutSeconds,
    timeoutMessage: `Reading the file took longer than ${run.timeoutSeconds} s. Give a smaller file.`,
    signal: run.signal,
    onChunk: (chunk) => {
      lines.push(chunk);
      return 'more';
    },
  });
  return withoutPath(outcome, run.path);
}

/** Cuts a byte stream into its lines, each ended by a newline. */
class LineSplitter {
  readonly #onLine: (line: string) => void;
  readonly #decoder = new TextDecoder();
  #rest = '';

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  push(chunk: Uint8Array): void {
    const lines = (this.#rest + this.#decoder.decode(chunk, { stream: true })).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#onLine(line);
  }
}
