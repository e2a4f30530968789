// The only file that starts ffmpeg and ffprobe. It owns the deadline, cancellation, stderr and the kill; it
// does not know what is decoded. Children stay in the process group of the engine process, so that killing
// the group kills them too.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Socket, type ConnectOpts, type SocketConstructorOpts } from 'node:net';
import { createInterface } from 'node:readline';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { abortError } from '../base/abort.ts';
import { AvocadoError } from '../base/errors.ts';
import type { Hold } from '../base/foreground.ts';
import { loadNative } from '../base/native.ts';
import { yieldOverTime } from './niceness.ts';

export interface ProcessRun {
  /** name on the PATH, or a path */
  readonly program: string;
  readonly args: readonly string[];
  readonly timeoutSeconds: number;
  /** what the user is told when the deadline passes */
  readonly timeoutMessage: string;
  readonly signal?: AbortSignal | undefined;
  /** while it is held, the process is stopped and its deadline waits */
  readonly hold?: Hold | undefined;
  /** bytes to write: the first goes to stdin, the next to file descriptor 3, then 4 and so on */
  readonly inputs?: readonly Iterable<Uint8Array>[] | undefined;
  /**
   * Gets stdout in pieces of any size, each to be read before the answer; the process waits while the promise is
   * pending. `enough` ends the run as a success.
   */
  readonly onChunk?: ((chunk: Uint8Array) => ChunkAnswer | Promise<ChunkAnswer>) | undefined;
  /** gets each line of stderr */
  readonly onLine?: ((line: string) => void) | undefined;
}

export type ChunkAnswer = 'more' | 'enough';

export interface ProcessOutcome {
  /** null when we ended the process because we had enough, or when it crashed */
  readonly exitCode: number | null;
  /** number of errors on stderr */
  readonly errors: number;
  /** last lines of stderr */
  readonly log: readonly string[];
}

/**
 * Runs a program to its end. A failing exit code is no error here. When the promise settles, the process is gone.
 * @throws AvocadoError `ffmpeg_missing` when it does not start, `media_timeout`, `aborted`, `engine_error` when
 *   something else ended it or there is no room for it; or what a callback or an input threw
 */
export async function runProcess(run: ProcessRun): Promise<ProcessOutcome> {
  const { signal, onChunk, inputs = [] } = run;
  if (signal?.aborted === true) throw abortError(signal);
  const { child, output } = await start(run);
  const log = new DecoderLog();
  const tell = (line: string): void => {
    log.add(line);
    run.onLine?.(line);
  };
  createInterface({ input: child.stderr as Readable }).on('line', tell);
  const closed = new Promise<Ending>((resolve) => {
    child.once('close', (code, signalled) => {
      resolve(signalled ?? code);
    });
  });
  const stopping = new AbortController();
  const stop = (reason: unknown): void => {
    if (stopping.signal.aborted) return;
    stopping.abort(reason);
    // SIGKILL: ffmpeg ignores SIGTERM while it waits on a full pipe. Node emits `close` only after stdout is closed
    // too.
    child.kill('SIGKILL');
    output?.destroy();
  };
  const onAbort = (): void => {
    stop(abortError(signal));
  };
  const deadline = new Deadline(run.timeoutSeconds, () => {
    stop(new AvocadoError('media_timeout', run.timeoutMessage));
  });
  const letGo = followHold(run.hold, child, deadline);
  const yielding = yieldOverTime(child);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    const tasks = inputs.map((pieces, index) => feed(pieces, child.stdio[descriptor(index)] as Writable));
    if (output !== undefined && onChunk !== undefined) tasks.push(consume(output, onChunk, stop));
    // A callback may stay pending forever: after a stop, only the end of the process is awaited.
    await Promise.race([once(stopping.signal, 'abort'), Promise.all([closed, ...tasks]).catch(stop)]);
    const ending = await closed;
    if (!stopping.signal.aborted) {
      const error = endedFromOutside(run.program, ending);
      if (error !== undefined) throw error;
      if (typeof ending === 'string') tell(`[fatal] ${run.program} was ended by ${ending}`);
      return { exitCode: typeof ending === 'string' ? null : ending, errors: log.errors, log: log.lines() };
    }
    const reason: unknown = stopping.signal.reason;
    if (reason === ENOUGH) return { exitCode: null, errors: log.errors, log: log.lines() };
    throw reason instanceof Error ? reason : new Error(String(reason));
  } finally {
    deadline.end();
    letGo?.();
    yielding.stop();
    signal?.removeEventListener('abort', onAbort);
  }
}

/** A signal, or the exit code. */
export type Ending = NodeJS.Signals | number | null;

/** Signals of a program that fails by itself, perhaps at what it reads. */
const CRASHES: ReadonlySet<Ending> = new Set(['SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGILL', 'SIGSEGV', 'SIGSYS', 'SIGTRAP']);
/** ffmpeg's exit code when a signal asked it to end. */
const ASKED_TO_END = 255;

/**
 * The error of a program that we did not end and that did not fail by itself. Its file is not at fault, and what it
 * gave is not all of it.
 */
export function endedFromOutside(program: string, ending: Ending): AvocadoError | undefined {
  const isSignal = typeof ending === 'string' && !CRASHES.has(ending);
  if (!isSignal && ending !== ASKED_TO_END) return undefined;
  const how = isSignal ? `was ended by ${ending}` : 'was asked to end';
  const message = `${program} ${how} from outside, which happens where memory is short. Send the request again.`;
  return new AvocadoError('engine_error', message);
}

/** Of the time that a process may run. */
class Deadline {
  readonly #onPassed: () => void;
  #leftMs: number;
  #sinceMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(seconds: number, onPassed: () => void) {
    this.#leftMs = seconds * 1000;
    this.#onPassed = onPassed;
    this.run();
  }

  run(): void {
    if (this.#timer !== undefined) return;
    this.#sinceMs = performance.now();
    this.#timer = setTimeout(this.#onPassed, this.#leftMs);
  }

  pause(): void {
    if (this.#timer === undefined) return;
    this.end();
    this.#leftMs -= performance.now() - this.#sinceMs;
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

function followHold(hold: Hold | undefined, child: ChildProcess, deadline: Deadline): (() => void) | undefined {
  if (hold === undefined || process.platform === 'win32') return undefined; // it has no such signals
  const stopOrGoOn = (isHeld: boolean): void => {
    child.kill(isHeld ? 'SIGSTOP' : 'SIGCONT');
    if (isHeld) deadline.pause();
    else deadline.run();
  };
  if (hold.isHeld) stopOrGoOn(true);
  return hold.onChange(stopOrGoOn);
}

/** Reason of a stop that is a success. */
const ENOUGH = Symbol('enough');

/** File descriptor of the child that gets the input at `index`: 1 and 2 are its stdout and stderr. */
export function descriptor(index: number): number {
  return index === 0 ? 0 : index + 2;
}

const running = new Set<ChildProcess>();
let killsOnExit = false;

async function start(run: ProcessRun): Promise<{ child: ChildProcess; output: Readable | undefined }> {
  const { program, onChunk } = run;
  const native = onChunk === undefined ? undefined : loadNative();
  const [readEnd, writeEnd] = native?.openPipe(PIPE_BYTES) ?? [];
  const reader = readEnd === undefined ? undefined : readerOf(readEnd);
  let child: ChildProcess;
  try {
    child = spawnChild(run, writeEnd);
  } catch (cause) {
    throw cannotStart(program, cause as Error);
  } finally {
    // The child has its own: while this one is open, its output does not end. The reader ends where there is no child.
    if (writeEnd !== undefined) native?.closeDescriptor(writeEnd);
  }
  const output = reader ?? child.stdout ?? undefined;
  if (child.pid === undefined) {
    output?.destroy();
    const [cause] = (await once(child, 'error')) as [Error];
    throw cannotStart(program, cause);
  }
  child.on('error', () => undefined); // a kill that came too late
  endWithUs(child);
  return { child, output };
}

function cannotStart(program: string, cause: Error): AvocadoError {
  const message = `${program} could not be started: ${cause.message}. Run: avocado doctor`;
  return shortage(program, cause) ?? new AvocadoError('ffmpeg_missing', message, { cause });
}

/** Codes of a machine that has no room for another process. */
const SHORTAGES: ReadonlySet<unknown> = new Set(['EAGAIN', 'EMFILE', 'ENFILE', 'ENOMEM']);

/** The error of a program that could not be started at the moment; undefined: it never will. */
export function shortage(program: string, cause: unknown): AvocadoError | undefined {
  const { code } = cause as NodeJS.ErrnoException;
  if (!SHORTAGES.has(code)) return undefined;
  const advice = 'the machine is short of memory, processes or open files. Send the request again.';
  return new AvocadoError('engine_error', `${program} could not be started (${String(code)}): ${advice}`, { cause });
}

/** @param writeEnd of our own pipe; undefined: Node makes one */
function spawnChild({ program, args, onChunk, inputs = [] }: ProcessRun, writeEnd: number | undefined): ChildProcess {
  return spawn(program, args, {
    stdio: [
      inputs.length === 0 ? 'ignore' : 'pipe',
      onChunk === undefined ? 'ignore' : (writeEnd ?? 'pipe'),
      'pipe',
      ...inputs.slice(1).map(() => 'pipe' as const),
    ],
  });
}

/** How far ahead of us a program may write. Linux allows no more to users; Node's own pipes have a fifth. */
const PIPE_BYTES = 1 << 20;

/** What one read takes at most: it lies in the processor's cache until the next one. */
const READ_BYTES = 1 << 18;

/** Every piece comes in the same memory. */
function readerOf(fileDescriptor: number): Readable {
  // Node's types know `onread` for connections only.
  const options: SocketConstructorOpts & ConnectOpts = {
    fd: fileDescriptor,
    readable: true,
    writable: false,
    onread: {
      buffer: new Uint8Array(READ_BYTES),
      callback: (bytes, memory) => {
        socket.emit('data', memory.subarray(0, bytes));
        return true;
      },
    },
  };
  const socket = new Socket(options);
  return socket;
}

/** Kills the child when this process exits: one that waits on a full pipe would outlive us. */
export function endWithUs(child: ChildProcess): void {
  running.add(child);
  child.once('close', () => running.delete(child));
  if (killsOnExit) return;
  killsOnExit = true;
  process.on('exit', () => {
    for (const left of running) left.kill('SIGKILL');
  });
}

/** Resolves at the end of the stream. Events, not an iterator: frames come in thousands of pieces. */
function consume(
  stdout: Readable,
  onChunk: (chunk: Uint8Array) => ChunkAnswer | Promise<ChunkAnswer>,
  stop: (reason: unknown) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const follow = (answer: ChunkAnswer): void => {
      if (answer === 'enough') stop(ENOUGH);
      else stdout.resume();
    };
    stdout.on('data', (chunk: Uint8Array) => {
      try {
        const answer = onChunk(chunk);
        if (answer === 'more') return;
        stdout.pause();
        if (answer === 'enough') stop(ENOUGH);
        else answer.then(follow, stop);
      } catch (error) {
        stop(error);
      }
    });
    stdout.once('end', resolve).once('error', reject);
  });
}

/** A program that stops reading is no error here: its exit code says why. */
const CLOSED_PIPE = new Set(['EPIPE', 'ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE']);

async function feed(pieces: Iterable<Uint8Array>, pipe: Writable): Promise<void> {
  try {
    await pipeline(Readable.from(pieces), pipe);
  } catch (error) {
    if (!CLOSED_PIPE.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}

const KEPT_LINES = 20;
const KEPT_CHARACTERS = 300;

/** Stderr of ffmpeg under `-loglevel level+…`: keeps the last lines and counts the errors, however much it writes. */
export class DecoderLog {
  readonly #lines: string[] = [];
  #errors = 0;

  add(line: string): void {
    if (line.trim() === '' || /\[(info|verbose)\]/.test(line)) return;
    if (/\[(error|fatal|panic)\]/.test(line)) this.#errors++;
    // Memory addresses differ from run to run.
    this.#lines.push(line.replaceAll(/ @ 0x[0-9a-f]+/g, '').slice(0, KEPT_CHARACTERS));
    if (this.#lines.length > KEPT_LINES) this.#lines.shift();
  }

  get errors(): number {
    return this.#errors;
  }

  lines(): readonly string[] {
    return [...this.#lines];
  }
}
