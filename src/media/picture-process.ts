// Processes that read pictures (picture-entry.ts). Each does one job at a time; the end of a process is what stops a
// job. One that is idle is kept for a while, since starting it takes a third of a second.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { abortError } from '../base/abort.ts';
import { AvocadoError } from '../base/errors.ts';
import { workerEntry } from '../base/worker-entry.ts';
import { endedFromOutside, endWithUs, shortage, type Ending } from './ffmpeg-process.ts';
import { yieldOverTime } from './niceness.ts';

/** A format by libvips' name; `heif` is AVIF. */
export type PictureFormat = 'png' | 'jpeg' | 'webp' | 'tiff' | 'heif' | 'gif';

export interface PictureJob {
  readonly path: string;
  /** what its first bytes say; another one is refused */
  readonly format: PictureFormat;
  /** most pixels to decode; undefined: only the header is read */
  readonly maxPixels: number | undefined;
}

export interface PictureHeader {
  readonly kind: 'header';
  /** as stored */
  readonly width: number;
  readonly height: number;
  /** EXIF, 1 to 8 */
  readonly orientation: number;
  readonly pages: number;
  /** such as srgb+alpha */
  readonly colours: string;
}

interface PictureFailure {
  readonly kind: 'failed';
  readonly reason: string;
}

/** A line of JSON on stdout; behind `pixels` come width · height · 3 bytes. */
export type PictureReply =
  PictureHeader | PictureFailure | { readonly kind: 'pixels'; readonly width: number; readonly height: number };

export interface Picture {
  readonly kind: 'pixels';
  /** u8 RGB [height, width, 3], upright */
  readonly data: Uint8Array;
  readonly height: number;
  readonly width: number;
}

type PictureAnswer = PictureHeader | PictureFailure | Picture;

export interface PictureRun {
  readonly timeoutSeconds: number;
  readonly signal?: AbortSignal | undefined;
}

/** How long an idle process is kept. It takes about 60 MB. */
export const PICTURE_IDLE_MS = 20_000;

const idle: PictureProcess[] = [];

/**
 * Reads a picture in a process of its own. When the promise settles, nothing works on the picture any more.
 * @throws AvocadoError `media_timeout`, `aborted`, `engine_error` when something else ended the process or
 *   there is no room for it
 */
export async function readPicture(job: PictureJob, { timeoutSeconds, signal }: PictureRun): Promise<PictureAnswer> {
  if (signal?.aborted === true) throw abortError(signal);
  const rested = idle.pop();
  let worker = rested ?? PictureProcess.start();
  let stopped: AvocadoError | undefined;
  const stop = (reason: AvocadoError): void => {
    stopped ??= reason;
    worker.kill();
  };
  const onAbort = (): void => {
    stop(abortError(signal));
  };
  const timer = setTimeout(() => {
    const message = `Reading the picture took longer than ${timeoutSeconds} s and was stopped. Scale it down.`;
    stop(new AvocadoError('media_timeout', message));
  }, timeoutSeconds * 1000);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    let answer = await worker.run(job);
    if (worker.hasEnded && rested !== undefined && stopped === undefined) {
      // It may have ended before it got the job: nobody knows.
      worker = PictureProcess.start();
      answer = await worker.run(job);
    }
    if (stopped !== undefined) throw stopped;
    const ended = answer.kind === 'failed' ? worker.endedFromOutside : undefined;
    if (ended !== undefined) throw ended;
    worker.rest();
    return answer;
  } catch (thrown) {
    throw stopped ?? shortage(NAME, thrown) ?? thrown;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}

/** for messages */
const NAME = 'The picture decoder';

class PictureProcess {
  static start(): PictureProcess {
    try {
      return new PictureProcess();
    } catch (thrown) {
      throw shortage(NAME, thrown) ?? thrown;
    }
  }

  readonly #child: ChildProcess;
  readonly #stdin: Writable;
  readonly #stdout: Readable;
  readonly #closed: Promise<Ending>;
  #retirement: NodeJS.Timeout | undefined;
  /** undefined: it runs */
  #ending: Ending | undefined;
  #hasYielded = false;

  constructor() {
    const { filename, execArgv } = workerEntry(import.meta.url, './picture-entry');
    const child = spawn(process.execPath, [...execArgv, filename], { stdio: ['pipe', 'pipe', 'ignore'] });
    child.on('error', () => undefined); // a kill that came too late; a start that failed closes it too
    child.stdin.on('error', () => undefined); // `close` says more
    this.#child = child;
    this.#stdin = child.stdin;
    this.#stdout = child.stdout;
    this.#closed = (once(child, 'close') as Promise<Ending[]>).then(([code = null, signal]) => {
      const ending = signal ?? code;
      this.#ending = ending;
      clearTimeout(this.#retirement);
      idle.splice(0, idle.length, ...idle.filter((other) => other !== this));
      return ending;
    });
    endWithUs(child);
  }

  get hasEnded(): boolean {
    return this.#ending !== undefined;
  }

  get endedFromOutside(): AvocadoError | undefined {
    return endedFromOutside(NAME, this.#ending ?? null);
  }

  /** One job. Where the process ends instead of answering, the answer is a failure. */
  async run(job: PictureJob): Promise<PictureAnswer> {
    clearTimeout(this.#retirement);
    this.#hold(true);
    const yielding = yieldOverTime(this.#child);
    this.#stdin.write(`${JSON.stringify(job)}\n`);
    const reader = new AnswerReader();
    const answered = new Promise<PictureAnswer>((resolve) => {
      this.#stdout.on('data', (chunk: Uint8Array) => {
        const answer = reader.push(chunk);
        if (answer !== undefined) resolve(answer);
      });
    });
    const died = this.#closed.then((why): PictureFailure => ({
      kind: 'failed',
      reason: `the decoder ended with ${why}`,
    }));
    try {
      return await Promise.race([answered, died]);
    } finally {
      this.#stdout.removeAllListeners('data');
      yielding.stop();
      this.#hasYielded ||= yielding.hasYielded;
    }
  }

  /** Waits for the next job, without keeping this program alive. One that has become slow ends instead. */
  rest(): void {
    if (this.hasEnded) return;
    if (this.#hasYielded) {
      this.kill();
      return;
    }
    this.#hold(false);
    idle.push(this);
    this.#retirement = setTimeout(() => {
      idle.splice(idle.indexOf(this), 1);
      this.#stdin.end();
    }, PICTURE_IDLE_MS).unref();
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #hold(busy: boolean): void {
    for (const handle of [this.#child, this.#stdin, this.#stdout] as Partial<Record<'ref' | 'unref', () => void>>[])
      if (busy) handle.ref?.();
      else handle.unref?.();
  }
}

/** Puts one answer together from pieces of stdout. */
class AnswerReader {
  #line = '';
  #picture: Picture | undefined;
  #filled = 0;

  /** @returns the answer once it is whole */
  push(chunk: Uint8Array): PictureAnswer | undefined {
    if (this.#picture !== undefined) return this.#fill(this.#picture, chunk);
    const end = chunk.indexOf(NEWLINE);
    this.#line += Buffer.from(chunk.subarray(0, end === -1 ? undefined : end)).toString('utf8');
    if (end === -1) return undefined;
    const reply = JSON.parse(this.#line) as PictureReply;
    if (reply.kind !== 'pixels') return reply;
    const data = new Uint8Array(reply.width * reply.height * 3);
    this.#picture = { ...reply, data };
    return this.#fill(this.#picture, chunk.subarray(end + 1));
  }

  #fill(picture: Picture, bytes: Uint8Array): Picture | undefined {
    picture.data.set(bytes, this.#filled);
    this.#filled += bytes.length;
    return this.#filled === picture.data.length ? picture : undefined;
  }
}

const NEWLINE = 10;
