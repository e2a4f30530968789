import { asAvocadoError, AvocadoError } from '../base/errors.ts';
import type { Captioner, Estimate, SubmitOptions } from '../captioner/captioner.ts';
import type { OnProgress } from '../captioner/open-captioner.ts';
import { endingOf } from '../output/ending.ts';
import type { CaptionRequest } from '../output/events.ts';
import { deviceNames, type Device, type EngineSettings } from '../settings/engine-settings.ts';
import { EnginePool, type Chosen } from './engine-pool.ts';
import { WARM_UP_FILE } from './engine-server.ts';
import { forkEngine, type ForkEngine } from './fork-engine.ts';
import { RESTART_TIMES, Supervisor, type BackOffTimes } from './supervisor.ts';

export interface EngineProcessOptions {
  readonly settings: EngineSettings;
  /** longest silence of its main loop before it is killed and restarted; default 30 s */
  readonly heartbeatTimeoutMs?: number | undefined;
  /** longest time of work without progress before it is killed and restarted; default 120 s */
  readonly stallMs?: number | undefined;
  readonly restart?: BackOffTimes | undefined;
  readonly onProgress?: OnProgress | undefined;
  /** gets a sentence about each crash or hang and what is done about it */
  readonly onFault?: ((sentence: string) => void) | undefined;
}

/**
 * A model in a process of its own, or in one on each device, restarted when it dies: a native crash does not reach the
 * server, and takes only the requests of its device.
 */
export interface EngineProcess extends Captioner {
  /**
   * Resolves when it is ready, after its first start or a restart; of several, when all are.
   * @throws AvocadoError why the first start failed (`checkpoint_*`, `device_unavailable` …), `aborted`,
   *   `engine_unavailable` after close
   */
  ready(signal?: AbortSignal): Promise<void>;
}

const HEARTBEAT_TIMEOUT_MS = 30_000;
const START_TIMEOUT_MS = 60_000;
const STALL_MS = 120_000;

/** Requests wait while the process starts or restarts; it is an error only when it never will. */
async function readyEngine(
  pool: EnginePool,
  request: CaptionRequest,
  signal: AbortSignal | undefined,
): Promise<Chosen> {
  try {
    return await pool.choose(request, signal);
  } catch (thrown) {
    const error = asAvocadoError(thrown);
    if (signal?.aborted === true || error.code === 'aborted' || error.code === 'engine_unavailable') throw error;
    const message = `The engine could not be started: ${error.message}`;
    throw new AvocadoError('engine_unavailable', message, { cause: error });
  }
}

/**
 * A request that waits to be admitted survives a restart, and goes to another engine where that has less to do by
 * then: it is planned again, but admitted only once.
 */
async function submit(pool: EnginePool, request: CaptionRequest, options: SubmitOptions): Promise<void> {
  const { signal, onEvent, admit } = options;
  const admission: { promise?: Promise<void>; isOver?: boolean } = {};
  const admitOnce =
    admit &&
    ((estimate: Estimate): Promise<void> =>
      (admission.promise ??= admit(estimate).then(() => {
        admission.isOver = true;
      })));
  try {
    for (;;) {
      const { connection, isStillBest } = await readyEngine(pool, request, signal);
      const gate = admission.isOver === true ? {} : { admit: admitOnce, startsHere: isStillBest };
      if ((await connection.submit(request, { signal, onEvent, ...gate })) === 'ended') return;
    }
  } catch (thrown) {
    onEvent(endingOf(thrown, signal));
  }
}

/**
 * Starts an engine process, or one on each device, and resolves as soon as it has told which model it will serve; the
 * weights load meanwhile, see `ready()`. Requests may come at once, and wait.
 * @param fork starts a process; tests pass their own
 * @throws AvocadoError `checkpoint_not_found`, `checkpoint_invalid`, `export_*`, `engine_unavailable` (it
 *   cannot be started at all)
 */
export async function openEngineProcess(
  options: EngineProcessOptions,
  fork: ForkEngine = forkEngine,
): Promise<EngineProcess> {
  const { heartbeatTimeoutMs = HEARTBEAT_TIMEOUT_MS, stallMs = STALL_MS, restart = RESTART_TIMES } = options;
  const { device: devices } = options.settings;
  const supervise = (device: Device): Supervisor => {
    const named = devices.length === 1 ? '' : `${deviceNames([device])}: `;
    return new Supervisor({
      settings: { ...options.settings, device: [device] },
      warmUpFile: WARM_UP_FILE,
      limits: { heartbeatTimeoutMs, stallMs, startTimeoutMs: Math.max(START_TIMEOUT_MS, heartbeatTimeoutMs) },
      restart,
      fork,
      onProgress: (text, done, total) => options.onProgress?.(named + text, done, total),
      onFault: (sentence) => options.onFault?.(named + sentence),
    });
  };
  const members = devices.map((device) => ({ device, supervisor: supervise(device) }));
  const pool = new EnginePool(members);
  try {
    await pool.allDescribed();
  } catch (refusal) {
    await pool.close();
    throw refusal;
  }
  return {
    get model() {
      return pool.model();
    },
    submit: (request, submitOptions) => submit(pool, request, submitOptions),
    estimate: async (request, signal) =>
      (await readyEngine(pool, request, signal)).connection.estimate(request, signal),
    status: () => pool.status(),
    stats: () => pool.stats(),
    ready: (signal) => pool.allReady(signal),
    close: () => pool.close(),
  };
}
