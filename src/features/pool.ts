// Worker threads for the CPU work of a request.
import { Piscina } from 'piscina';
import { abortError } from '../base/abort.ts';
import { workerEntry } from '../base/worker-entry.ts';
import type { MediaPlan } from '../media/types.ts';
import type { PrepareOptions } from './prepare.ts';
import {
  cancelTask,
  createCancelFlag,
  valueOf,
  type CancelFlag,
  type PatchTask,
  type PrepareTask,
  type TaskReply,
} from './task-protocol.ts';
import type { FrameStack, PreparedMedia } from './types.ts';

/** Threads that decode, one file each, and one more thread that cuts patches. */
export interface PreparePool {
  /**
   * Decodes what the plan asks for. A cancelled task that runs rejects once its decoders are gone; one that waits for a
   * thread rejects at once.
   * @throws AvocadoError `media_undecodable`, `media_timeout`, `aborted`
   */
  prepare(plan: MediaPlan, options: PrepareOptions, signal?: AbortSignal): Promise<PreparedMedia>;
  /** Patches of the temporal steps [fromStep, toStep), as cutPatches. */
  patches(frames: FrameStack, fromStep: number, toStep: number): Promise<Float32Array<ArrayBuffer>>;
  /** Cancels the running tasks, waits for them, and ends the threads. */
  close(): Promise<void>;
}

/** Idle threads beyond the first end after this time, which frees their memory. */
const IDLE_MS = 30_000;

function createThreads(name: string, maxThreads: number): Piscina {
  return new Piscina({
    ...workerEntry(import.meta.url, name),
    minThreads: 1,
    maxThreads,
    idleTimeout: IDLE_MS,
    // A thread that sleeps in Atomics.wait between tasks could not finish the asynchronous end of its last decoder.
    atomics: 'disabled',
  });
}

/** @param options `threads`: number of files decoded at the same time */
export function createPreparePool(options: { threads: number }): PreparePool {
  const decoding = createThreads('./prepare-task', options.threads);
  // A thread of its own: an encoder waits for these patches, so they must not queue behind another request's decoding.
  const cutting = createThreads('./patch-task', 1);
  const running = new Set<CancelFlag>();

  async function prepare(
    plan: MediaPlan,
    prepareOptions: PrepareOptions,
    signal?: AbortSignal,
  ): Promise<PreparedMedia> {
    if (signal?.aborted === true) throw abortError(signal);
    const flag = createCancelFlag();
    // Only the plain fields: the caller's object may hold values that cannot be copied to another thread.
    const { imageMean, imageStd } = prepareOptions.preprocessor;
    const task: PrepareTask = { plan, options: { ...prepareOptions, preprocessor: { imageMean, imageStd } }, flag };
    running.add(flag);
    let reject: (error: Error) => void = () => undefined;
    const cancelledInQueue = new Promise<never>((_, rejectPromise) => {
      reject = rejectPromise;
    });
    const onAbort = (): void => {
      if (!cancelTask(flag)) reject(abortError(signal));
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const reply = decoding.run(task) as Promise<TaskReply<PreparedMedia>>;
      return valueOf(await Promise.race([reply, cancelledInQueue]));
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
      for (const flag of running) cancelTask(flag);
      await Promise.all([decoding.close(), cutting.close()]);
    },
  };
}
