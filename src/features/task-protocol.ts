// What crosses between the main thread and the worker threads of pool.ts: tasks, a flag to cancel one, and replies.
import { asAvocadoError, AvocadoError, type ErrorCode } from '../base/errors.ts';
import { shareFfmpegVersion, type FfmpegVersion } from '../media/ffmpeg.ts';
import type { ProbeOptions } from '../media/probe.ts';
import type { MediaPlan } from '../media/types.ts';
import type { EarlyPort } from './early-steps.ts';
import type { HoldState } from './hold.ts';
import type { PrepareOptions } from './prepare.ts';
import type { FrameStack } from './types.ts';

/** A task that can be cancelled and may start ffmpeg. */
export interface MediaTask {
  readonly flag: CancelFlag;
  /** undefined: the thread looks for it, and reports what is wrong */
  readonly ffmpeg: FfmpegVersion | undefined;
}

export interface PrepareTask extends MediaTask {
  readonly plan: MediaPlan;
  /** the thread works on heavy files only */
  readonly heavy: boolean;
  /** its decoders stop while this says so */
  readonly hold: HoldState | undefined;
  /** to give steps early; transferred */
  readonly early: EarlyPort | undefined;
  readonly options: PrepareOptions;
}

export interface ProbeTask extends MediaTask {
  readonly path: string;
  readonly options: Pick<ProbeOptions, 'keepsTimes' | 'limits'>;
}

export interface PatchTask {
  /** all of it is cut; transferred */
  readonly stack: FrameStack;
  /** transferred, and back with the patches where it is large enough */
  readonly memory: ArrayBuffer | undefined;
}

/**
 * One Int32 in shared memory: the state of a task that can be cancelled. Piscina's own signal would kill the thread of
 * a running task, and ffmpeg would be left without the code that ends it.
 */
export type CancelFlag = Int32Array<SharedArrayBuffer>;

const WAITING = 0;
const RUNNING = 1;
const CANCELLED = 2;

/** Well below the half second in which a cancelled decoder must be gone. */
const POLL_MS = 50;

export function createCancelFlag(): CancelFlag {
  return new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
}

/** Cancels the task of this flag. @returns true when the task is running: it will stop and reply */
export function cancelTask(flag: CancelFlag): boolean {
  return Atomics.exchange(flag, 0, CANCELLED) === RUNNING;
}

/** In the worker: marks the task as running, and turns its flag into a signal until `stop` is called. */
export function beginTask({ flag, ffmpeg }: MediaTask): { signal: AbortSignal; stop: () => void } {
  if (ffmpeg !== undefined) shareFfmpegVersion(ffmpeg);
  const controller = new AbortController();
  const poll = (): void => {
    if (Atomics.load(flag, 0) === CANCELLED) controller.abort();
  };
  Atomics.compareExchange(flag, 0, WAITING, RUNNING);
  poll();
  const timer = setInterval(poll, POLL_MS);
  return {
    signal: controller.signal,
    stop: () => {
      clearInterval(timer);
    },
  };
}

/** Plain data instead of a thrown error: errors lose their class and their code between threads. */
export type TaskReply<T> = { readonly kind: 'done'; readonly value: T } | TaskFailure;

interface TaskFailure {
  readonly kind: 'failed';
  readonly code: ErrorCode;
  readonly message: string;
  readonly param: string | undefined;
  readonly stack: string;
}

/** In the worker: the reply of a task. Never rejects. */
export async function replyOf<T>(task: () => T | Promise<T>): Promise<TaskReply<T>> {
  try {
    return { kind: 'done', value: await task() };
  } catch (thrown) {
    const error = asAvocadoError(thrown);
    const origin = error.cause instanceof Error ? `\nCause: ${error.cause.stack ?? error.cause.message}` : '';
    const stack = `${error.stack ?? error.message}${origin}`;
    return { kind: 'failed', code: error.code, message: error.message, param: error.param, stack };
  }
}

/**
 * The value of a reply.
 * @throws AvocadoError the task's error, with its class restored and the worker's stack as its cause
 */
export function valueOf<T>(reply: TaskReply<T>): T {
  switch (reply.kind) {
    case 'done':
      return reply.value;
    case 'failed': {
      const cause = new Error(reply.message);
      cause.stack = reply.stack;
      throw new AvocadoError(reply.code, reply.message, { cause, param: reply.param });
    }
    default:
      return reply satisfies never;
  }
}
