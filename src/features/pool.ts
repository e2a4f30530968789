import { Piscina } from 'piscina';
import { AvocadoError } from '../base/errors.ts';
import type { MediaPlan } from '../media/types.ts';
import { workerEntry } from '../base/worker-entry.ts';
import { createCancelFlag, raise, type CancelFlag } from './cancel-flag.ts';
import type { PrepareOptions } from './prepare.ts';
import { valueOf, type TaskReply } from './task-reply.ts';
import type { FrameStack, PreparedMedia } from './types.ts';

export interface PrepareTask {
  readonly plan: MediaPlan;
  readonly options: PrepareOptions;
  readonly flag: CancelFlag;
}

export interface PatchTask {
  readonly stack: FrameStack;
  readonly fromStep: number;
  readonly toStep: number;
}

/** CPU work of a request off the main thread: one file decoded per thread, and one more thread that cuts patches. */
export interface PreparePool {
  /**
   * Decodes what the plan promises. Cancelling rejects with `aborted` once its decoders are gone, at once when it still waits
   * for a thread.
   * @throws AvocadoError `media_undecodable`, `media_timeout`, `aborted`
   */
  prepare(plan: MediaPlan, options: PrepareOptions, signal?: AbortSignal): Promise<PreparedMedia>;
  /** Patches of the steps [fromStep, toStep), as cutPatches. */
  patches(frames: FrameStack, fromStep: number, toStep: number): Promise<Float32Array<ArrayBuffer>>;
  /** Cancels what runs, waits for it, ends the threads. */
  close(): Promise<void>;
}

/** Threads beyond the first give their memory back when no second file has come for a while. */
const IDLE_MS = 30_000;

function createThreads(name: string, maxThreads: number): Piscina {
  return new Piscina({
    ...workerEntry(import.meta.url, name),
    minThreads: 1,
    maxThreads,
    idleTimeout: IDLE_MS,
    // Decoders are asynchronous work: an idle thread must not sleep in Atomics.wait while one of them winds down.
    atomics: 'disabled',
  });
}

function cancelled(signal: AbortSignal): AvocadoError {
  return new AvocadoError('aborted', 'The request was cancelled.', { cause: signal.reason });
}

/** @param options `threads`: files decoded at the same time */
export function createPreparePool(options: { threads: number }): PreparePool {
  const decoding = createThreads('./prepare-task', options.threads);
  // Patches feed a tower that waits for them, so they never queue behind somebody's decoding.
  const cutting = createThreads('./patch-task', 1);
  const running = new Set<CancelFlag>();

  async function prepare(
    plan: MediaPlan,
    prepareOptions: PrepareOptions,
    signal?: AbortSignal,
  ): Promise<PreparedMedia> {
    if (signal?.aborted === true) throw cancelled(signal);
    const flag = createCancelFlag();
    // Only the plain fields: a caller's richer object may not survive the way to another thread.
    const { imageMean, imageStd } = prepareOptions.preprocessor;
    const task: PrepareTask = { plan, options: { ...prepareOptions, preprocessor: { imageMean, imageStd } }, flag };
    running.add(flag);
    const { promise: left, reject: leave } = untilRejected();
    const onAbort = (): void => {
      if (signal !== undefined && !raise(flag)) leave(cancelled(signal));
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const reply = decoding.run(task) as Promise<TaskReply<PreparedMedia>>;
      return valueOf(await Promise.race([reply, left]));
    } finally {
      running.delete(flag);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  return {
    prepare,
    patches: async (stack, fromStep, toStep) => {
      const task: PatchTask = { stack, fromStep, toStep };
      return new Float32Array((await cutting.run(task)) as ArrayBuffer);
    },
    close: async () => {
      for (const flag of running) raise(flag);
      await Promise.all([decoding.close(), cutting.close()]);
    },
  };
}

/** A promise that only ever rejects. */
function untilRejected(): { promise: Promise<never>; reject: (error: Error) => void } {
  let reject: (error: Error) => void = () => undefined;
  const promise = new Promise<never>((_, rejectPromise) => {
    reject = rejectPromise;
  });
  return { promise, reject };
}
