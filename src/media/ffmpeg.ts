// The one place that starts ffmpeg and ffprobe. Owns allow-lists, deadline, cancellation, stderr and the death of the
// process; knows nothing of what is decoded.
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import fluent, { type FfmpegCommand, type FormatsCallback, type EncodersCallback } from 'fluent-ffmpeg';
import { AvocadoError } from '../base/errors.ts';
import { inputGuards, inputUrl } from './allow-list.ts';
import { DecoderLog } from './decoder-log.ts';
import { ffmpegVersion } from './ffmpeg-version.ts';

export { ffmpegVersion, type FfmpegVersion } from './ffmpeg-version.ts';

export interface FfmpegRun {
  readonly path: string;
  /** filters, mapping, codec and `-f`; output goes to us */
  readonly outputOptions: readonly string[];
  readonly logLevel: 'error' | 'info';
  readonly maxPixels: number;
  readonly timeoutSeconds: number;
  readonly signal?: AbortSignal | undefined;
  /** Gets stdout in pieces of any size; ffmpeg waits while the promise is open. `enough` ends the run well. */
  readonly onChunk: (chunk: Uint8Array) => ChunkAnswer | Promise<ChunkAnswer>;
  readonly onLine?: ((line: string) => void) | undefined;
}

export type ChunkAnswer = 'more' | 'enough';

export interface FfmpegOutcome {
  /** null when we ended it because we had enough */
  readonly exitCode: number | null;
  readonly errors: number;
  readonly log: readonly string[];
}

/**
 * Runs ffmpeg on one local file. A damaged file is no error here: ffmpeg's exit code and errors are in the outcome.
 * When the promise settles, the process is gone.
 * @throws AvocadoError `ffmpeg_missing`, `media_timeout`, `aborted`; or whatever `onChunk` threw
 */
export async function runFfmpeg(run: FfmpegRun): Promise<FfmpegOutcome> {
  const { ffmpeg } = await ffmpegVersion();
  if (run.signal?.aborted === true) throw abortedError(run.signal);
  return await new DecoderProcess(run, ffmpeg).outcome();
}

const alive = new Set<ChildProcess>();
let reaping = false;

/** A process that waits on a full pipe outlives us unless it is told; SIGTERM it ignores there. */
function reapOnExit(child: ChildProcess): void {
  alive.add(child);
  if (reaping) return;
  reaping = true;
  process.on('exit', () => {
    for (const left of alive) left.kill('SIGKILL');
  });
}

class DecoderProcess {
  readonly #run: FfmpegRun;
  readonly #log = new DecoderLog();
  readonly #sink: Writable;
  readonly #command: FfmpegCommand & { ffmpegProc?: ChildProcess };
  #child: ChildProcess | undefined;
  #failure: Error | undefined;
  #enough = false;
  #gone: (exitCode: number | null) => void = () => undefined;
  #drained: () => void = () => undefined;
  readonly #untilDrained: Promise<void>;

  constructor(run: FfmpegRun, program: string) {
    this.#run = run;
    this.#untilDrained = new Promise((resolve) => {
      this.#drained = resolve;
    });
    // Kept open: fluent takes a closed stream for a reason to stop ffmpeg and to report an error, even after a good end.
    this.#sink = new Writable({
      highWaterMark: 1 << 20,
      autoDestroy: false,
      emitClose: false,
      write: (chunk: Uint8Array, _encoding, next) => {
        this.#take(chunk, next);
      },
      final: (next) => {
        next();
        this.#drained();
      },
    });
    this.#command = fluent({ stdoutLines: 40 });
    this.#command.setFfmpegPath(program);
    knowFormats(this.#command);
    this.#command
      .input(inputUrl(run.path))
      .inputOptions(
        '-nostdin',
        '-hide_banner',
        '-nostats',
        '-loglevel',
        `level+${run.logLevel}`,
        ...inputGuards(run.maxPixels),
      )
      .outputOptions(...run.outputOptions)
      .output(this.#sink, { end: true });
  }

  async outcome(): Promise<FfmpegOutcome> {
    const { signal, timeoutSeconds } = this.#run;
    const onAbort = (): void => {
      this.#fail(abortedError(signal));
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    const timer = setTimeout(() => {
      this.#fail(
        new AvocadoError(
          'media_timeout',
          `Decoding took longer than ${timeoutSeconds} s and was stopped. Give a shorter clip or one of smaller pictures.`,
        ),
      );
    }, timeoutSeconds * 1000);
    try {
      const exitCode = await this.#untilGone();
      if (this.#failure === undefined && !this.#enough) await this.#untilDrained;
      if (this.#failure !== undefined) throw this.#failure;
      return { exitCode: this.#enough ? null : exitCode, errors: this.#log.errors, log: this.#log.lines() };
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Resolves with the exit code once the process has ended and its pipes are closed. */
  #untilGone(): Promise<number | null> {
    return new Promise((resolve) => {
      this.#gone = resolve;
      this.#command.on('start', () => {
        this.#adopt();
      });
      this.#command.on('stderr', (line: string) => {
        this.#log.add(line);
        this.#run.onLine?.(line);
      });
      this.#command.on('error', (error: Error) => {
        // Of a process that ran, its own end is the news.
        if (this.#child?.pid !== undefined) return;
        this.#failure ??= new AvocadoError(
          'ffmpeg_missing',
          `ffmpeg could not be started: ${error.message}. Run: avocado doctor`,
          { cause: error },
        );
        resolve(null);
      });
      this.#command.run();
    });
  }

  #adopt(): void {
    const child = this.#command.ffmpegProc;
    if (child === undefined) throw new Error('fluent-ffmpeg started a process without showing it. This is a bug.');
    this.#child = child;
    if (child.pid === undefined) return;
    reapOnExit(child);
    child.once('close', (code: number | null) => {
      alive.delete(child);
      this.#gone(code);
    });
    if (this.#failure !== undefined) this.#kill();
  }

  #take(chunk: Uint8Array, next: () => void): void {
    if (this.#enough || this.#failure !== undefined) return;
    const answered = (answer: ChunkAnswer): void => {
      if (answer === 'more') {
        next();
        return;
      }
      this.#enough = true;
      this.#kill();
      this.#drained();
    };
    try {
      const answer = this.#run.onChunk(chunk);
      if (typeof answer === 'string') answered(answer);
      else
        answer.then(answered, (error: unknown) => {
          this.#fail(error);
        });
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.#failure ??= error instanceof Error ? error : new Error(String(error));
    this.#kill();
    this.#drained();
  }

  /** SIGKILL, since ffmpeg that waits on a full pipe ignores SIGTERM; the pipe is dropped so that `close` comes. */
  #kill(): void {
    this.#child?.kill('SIGKILL');
    this.#child?.stdout?.destroy();
  }
}

/** fluent asks ffmpeg for all its formats and encoders first: two processes, 180 ms, and nobody to stop them. We know ours. */
function knowFormats(command: FfmpegCommand): void {
  const muxer = { description: '', canDemux: true, canMux: true };
  const none = null as unknown as Error;
  command.availableFormats = (callback: FormatsCallback) => {
    callback(none, { rawvideo: muxer, f32le: muxer });
  };
  command.availableEncoders = (callback: EncodersCallback) => {
    callback(none, {});
  };
}

export interface FfprobeRun {
  readonly path: string;
  readonly entries: string;
  readonly maxPixels: number;
  readonly timeoutSeconds: number;
  readonly signal?: AbortSignal | undefined;
}

export interface FfprobeOutcome {
  readonly ok: boolean;
  readonly stdout: string;
  readonly log: readonly string[];
}

/** A megabyte a minute is usual for the list of packets; a file that needs this much is an attack. */
const PROBE_MAX_BYTES = 256 * 1024 * 1024;

/**
 * Runs ffprobe on one local file and returns its JSON; a file it refuses is no error here.
 * When the promise settles, the process is gone.
 * @throws AvocadoError `ffmpeg_missing`, `media_timeout`, `media_too_large` (endless packets), `aborted`
 */
export async function runFfprobe(run: FfprobeRun): Promise<FfprobeOutcome> {
  const { ffprobe } = await ffmpegVersion();
  const { signal } = run;
  if (signal?.aborted === true) throw abortedError(signal);
  const args = [
    '-hide_banner',
    '-loglevel',
    'level+error',
    ...inputGuards(run.maxPixels),
    '-show_entries',
    run.entries,
    '-of',
    'json=compact=1',
    '-i',
    inputUrl(run.path),
  ];
  return await new Promise((resolve, reject) => {
    // execFile's own signal option would settle before the process is gone.
    const onAbort = (): void => {
      child.kill('SIGKILL');
    };
    const child = execFile(
      ffprobe,
      args,
      { timeout: run.timeoutSeconds * 1000, killSignal: 'SIGKILL', maxBuffer: PROBE_MAX_BYTES },
      (error, stdout, stderr) => {
        alive.delete(child);
        signal?.removeEventListener('abort', onAbort);
        const log = new DecoderLog();
        for (const line of stderr.split('\n')) log.add(line);
        const code = error?.code;
        if (signal?.aborted === true) reject(abortedError(signal));
        else if (code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER')
          reject(
            new AvocadoError(
              'media_too_large',
              'The file holds too many packets to be a clip. Cut it or re-encode it.',
            ),
          );
        else if (error !== null && error.killed === true)
          reject(
            new AvocadoError(
              'media_timeout',
              `Reading the file took longer than ${run.timeoutSeconds} s. Give a smaller file.`,
            ),
          );
        else if (typeof code === 'string')
          reject(
            new AvocadoError(
              'ffmpeg_missing',
              `ffprobe could not be started: ${error?.message ?? code}. Run: avocado doctor`,
              { cause: error },
            ),
          );
        else resolve({ ok: error === null, stdout, log: log.lines() });
      },
    );
    reapOnExit(child);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

export interface EncoderRun {
  /** raw media through a pipe each: what `-i` needs before it, and the bytes */
  readonly inputs: readonly { readonly options: readonly string[]; readonly pieces: Iterable<Uint8Array> }[];
  /** codecs and `-f` */
  readonly outputOptions: readonly string[];
  /** is written over */
  readonly out: string;
  readonly timeoutSeconds: number;
  readonly signal: AbortSignal;
}

export interface EncoderOutcome {
  readonly exitCode: number | null;
  readonly log: readonly string[];
}

/**
 * Runs ffmpeg on media that we make, into a file. That it cannot write it is no error here: its exit code is in the outcome.
 * When the promise settles, the process is gone.
 * @throws AvocadoError `ffmpeg_missing`, `media_timeout`, `aborted`; or whatever making the bytes threw
 */
export async function runEncoder(run: EncoderRun): Promise<EncoderOutcome> {
  const { ffmpeg } = await ffmpegVersion();
  const { signal } = run;
  const refuseAborted = (): void => {
    if (signal.aborted) throw abortedError(signal);
  };
  refuseAborted();
  const pipes = run.inputs.map((_, index) => (index === 0 ? 0 : index + 2)); // 1 and 2 are taken
  const inputs = run.inputs.flatMap(({ options }, index) => [
    '-protocol_whitelist',
    'pipe',
    ...options,
    '-i',
    `pipe:${pipes[index] ?? 0}`,
  ]);
  const child = spawn(
    ffmpeg,
    [
      '-nostdin',
      '-hide_banner',
      '-nostats',
      '-loglevel',
      'level+error',
      ...inputs,
      ...run.outputOptions,
      '-y',
      inputUrl(run.out),
    ],
    {
      stdio: ['pipe', 'ignore', 'pipe', ...run.inputs.slice(1).map(() => 'pipe' as const)],
      timeout: run.timeoutSeconds * 1000,
      killSignal: 'SIGKILL',
    },
  );
  reapOnExit(child);
  const onAbort = (): void => {
    child.kill('SIGKILL');
  };
  signal.addEventListener('abort', onAbort, { once: true });
  const log = new DecoderLog();
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    for (const line of text.split('\n')) log.add(line);
  });
  const gone = new Promise<number | null>((resolve, reject) => {
    child.once('close', resolve);
    child.once('error', (error) => {
      reject(
        new AvocadoError('ffmpeg_missing', `ffmpeg could not be started: ${error.message}. Run: avocado doctor`, {
          cause: error,
        }),
      );
    });
  });
  const fed = run.inputs.map(({ pieces }, index) => feed(child, child.stdio[pipes[index] ?? 0] as Writable, pieces));
  try {
    const [exitCode] = await Promise.all([gone, ...fed]);
    refuseAborted();
    if (child.killed)
      throw new AvocadoError(
        'media_timeout',
        `Encoding took longer than ${run.timeoutSeconds} s and was stopped. Make a shorter clip.`,
      );
    return { exitCode, log: log.lines() };
  } finally {
    alive.delete(child);
    signal.removeEventListener('abort', onAbort);
  }
}

/** A process that stops reading says why by its exit code; what fails in making the bytes ends it. */
async function feed(child: ChildProcess, pipe: Writable, pieces: Iterable<Uint8Array>): Promise<void> {
  await pipeline(Readable.from(pieces), pipe).catch(async (error: unknown) => {
    if (['EPIPE', 'ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE'].includes((error as NodeJS.ErrnoException).code ?? ''))
      return;
    const gone = new Promise((resolve) => child.once('close', resolve));
    if (child.kill('SIGKILL')) await gone;
    throw error;
  });
}

function abortedError(signal: AbortSignal | undefined): AvocadoError {
  return new AvocadoError('aborted', 'The request was cancelled.', { cause: signal?.reason });
}
