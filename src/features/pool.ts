// Worker threads for the CPU work of a request.
import { Piscina } from 'piscina';
import { abortError } from '../base/abort.ts';
import type { Foreground } from '../base/foreground.ts';
import { workerEntry } from '../base/worker-entry.ts';
import { ffmpegVersion } from '../media/ffmpeg.ts';
import { PICTURE_IDLE_MS } from '../media/picture-process.ts';
import { totalPixels } from '../media/probe.ts';
import type { MediaPlan, MediaProbe } from '../media/types.ts';
import { Places, type PlacesStats } from '../base/places.ts';
import { HoldSender } from './hold.ts';
import type { EarlyPort, EarlySteps } from './early-steps.ts';
import { patchValues, temporalSteps } from './patches.ts';
import type { PrepareOptions } from './prepare.ts';
import {
  cancelTask,
  createCancelFlag,
  valueOf,
  type CancelFlag,
  type MediaTask,
  type PatchTask,
  type PrepareTask,
  type ProbeTask,
  type TaskReply,
} from './task-protocol.ts';
import type { FrameStack, PreparedMedia } from './types.ts';

/** Threads that decode, one file each; one thread that reads headers, and one that cuts patches. */
export interface PreparePool {
  /**
   * As probeMedia, away from this thread: a small file may hold millions of packets. A few files at a time.
   * @throws AvocadoError as probeMedia
   */
  probe(path: string, options: ProbeTask['options'], signal?: AbortSignal): Promise<MediaProbe>;
  /**
   * Decodes what the plan asks for. A cancelled task that runs rejects once its decoders are gone; one that waits for a
   * thread rejects at once.
   * @param early gives temporal steps of a video before all of it is decoded; closed at the end
   * @throws AvocadoError `media_undecodable`, `media_timeout`, `engine_error`, `aborted`
   */
  prepare(plan: MediaPlan, options: PrepareOptions, signal?: AbortSignal, early?: EarlySteps): Promise<PreparedMedia>;
  /** The same in places of its own, with what of the processor everything else leaves, and not while a client waits. */
  prepareBehind: PreparePool['prepare'];
  /**
   * Patches of all temporal steps of a stack, as cutPatches.
   * @param steps its memory is taken
   * @param used patches that nobody needs any more: their memory is taken
   */
  patches(steps: FrameStack, used?: Float32Array<ArrayBuffer>): Promise<Float32Array<ArrayBuffer>>;
  /** of the decoders */
  stats(): PlacesStats;
  /** Cancels the running tasks, waits for them, and ends the threads. */
  close(): Promise<void>;
}

/**
 * Idle threads beyond the first end after this time, which frees their memory. The picture process of a thread has to
 * end before: nobody would wait for its end, and a zombie would stay as long as this process lives.
 */
const THREAD_IDLE_MS = PICTURE_IDLE_MS + 10_000;

/**
 * A file that takes longer goes on beside the others, as long as not too many do. Each decoder can take a gigabyte, so
 * two at most.
 */
const DECODING = { overtimePlaces: 2, overtimeMs: 20_000 };
/** Pixels that take some ten seconds to decode. It is done beside the model, but not at its cost. */
const HEAVY_PIXELS = 6e9;
/** Packets that do. */
const HEAVY_PACKETS = 2e6;

/** Whether the decoding takes long, as its header says. */
export function isHeavy({ video, packets = 0 }: Pick<MediaProbe, 'video' | 'packets'>): boolean {
  return packets > HEAVY_PACKETS || (video !== undefined && totalPixels(video) > HEAVY_PIXELS);
}

/** Most headers are read in a tenth of a second. */
const PROBING = { places: 4, overtimePlaces: 4, overtimeMs: 3000 };
const MOST_PROBES = PROBING.places + PROBING.overtimePlaces;

function createThreads(
  name: string,
  maxThreads: number,
  { minThreads = 1, concurrentTasksPerWorker = 1 }: { minThreads?: number; concurrentTasksPerWorker?: number } = {},
): Piscina {
  return new Piscina({
    ...workerEntry(import.meta.url, name),
    minThreads,
    maxThreads,
    concurrentTasksPerWorker,
    idleTimeout: THREAD_IDLE_MS,
    // A thread that sleeps in Atomics.wait between tasks could not finish the asynchronous end of its last decoder.
    atomics: 'disabled',
  });
}

function createAllThreads(files: number): Record<'decoding' | 'decodingHeavy' | 'probing' | 'cutting', Piscina> {
  return {
    decoding: createThreads('./prepare-task', files + DECODING.overtimePlaces),
    // Threads of their own: a thread that has yielded cannot take its share back.
    // As many again for what batches decode, so that a client's heavy file does not queue behind those.
    decodingHeavy: createThreads('./prepare-task', 2 * files + DECODING.overtimePlaces, { minThreads: 0 }),
    probing: createThreads('./probe-task', 1, { concurrentTasksPerWorker: MOST_PROBES }),
    // A thread of its own: an encoder waits for these patches, so they must not queue behind another's decoding.
    cutting: createThreads('./patch-task', 1),
  };
}

async function patchesIn(
  cutting: Piscina,
  ...[stack, used]: Parameters<PreparePool['patches']>
): Promise<Float32Array<ArrayBuffer>> {
  const memory = used?.buffer;
  const values = patchValues(stack, temporalSteps(stack));
  const task: PatchTask = { stack, memory };
  const transferList = [stack.data.buffer, ...(memory === undefined ? [] : [memory])];
  const buffer = (await cutting.run(task, { transferList })) as ArrayBuffer;
  return new Float32Array(buffer, 0, values);
}

/** Only the plain fields: the caller's object may hold values that cannot be copied to another thread. */
function plainOf(options: PrepareOptions): PrepareOptions {
  const { imageMean, imageStd } = options.preprocessor;
  return { ...options, preprocessor: { imageMean, imageStd } };
}

interface PoolOptions {
  /** number of files decoded at the same time */
  readonly threads: number;
  /** while it is held, what is prepared behind stops */
  readonly foreground?: Foreground;
}

export function createPreparePool(options: PoolOptions): PreparePool {
  const hold = new HoldSender(options.foreground);
  const { decoding, decodingHeavy, probing, cutting } = createAllThreads(options.threads);
  const decoders = new Places({ ...DECODING, places: options.threads });
  const behind = new Places({ places: options.threads });
  const probes = new Places(PROBING);
  const running = new Set<CancelFlag>();
  const findFfmpeg = (): Promise<MediaTask['ffmpeg']> => ffmpegVersion().catch(() => undefined);
  void findFfmpeg(); // while the model loads

  /** Runs a task in a thread. After an abort it is waited for, so that nothing of it is left. */
  async function runTask<T>(threads: Piscina, task: object, signal?: AbortSignal, port?: EarlyPort): Promise<T> {
    const flag = createCancelFlag();
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
      const reply = findFfmpeg().then((ffmpeg) => {
        const transferList = port === undefined ? [] : [port];
        return threads.run({ ...task, flag, ffmpeg } satisfies MediaTask, { transferList }) as Promise<TaskReply<T>>;
      });
      return valueOf(await Promise.race([reply, cancelledInQueue]));
    } finally {
      running.delete(flag);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  const prepareIn =
    (places: Places, isBehind: boolean): PreparePool['prepare'] =>
    (plan, prepareOptions, signal, early) =>
      places
        .run(() => {
          const heavy = isBehind || isHeavy(plan.probe);
          const state = isBehind ? hold.state : undefined;
          const job = { plan, heavy, options: plainOf(prepareOptions), hold: state, early: early?.port };
          const task: Omit<PrepareTask, keyof MediaTask> = job;
          return runTask<PreparedMedia>(heavy ? decodingHeavy : decoding, task, signal, early?.port);
        }, signal)
        .finally(() => early?.close());

  return {
    probe: (path, probeOptions, signal) =>
      probes.run(() => {
        const task: Omit<ProbeTask, keyof MediaTask> = { path, options: probeOptions };
        return runTask<MediaProbe>(probing, task, signal);
      }, signal),
    prepare: prepareIn(decoders, false),
    prepareBehind: prepareIn(behind, true),
    patches: (...cut) => patchesIn(cutting, ...cut),
    stats: () => decoders.stats(),
    close: async () => {
      for (const flag of running) cancelTask(flag);
      await Promise.all([decoding, decodingHeavy, probing, cutting].map((threads) => threads.close()));
      hold.close();
    },
  };
}
