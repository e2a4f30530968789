import { asAvocadoError, AvocadoError } from '../base/errors.ts';
import type { Captioner, Estimate, SubmitOptions } from '../captioner/captioner.ts';
import type { OnProgress } from '../captioner/open-captioner.ts';
import { endingOf } from '../output/ending.ts';
import type { CaptionRequest } from '../output/events.ts';
import type { EngineSettings } from '../settings/engine-settings.ts';
import type { EngineConnection } from './engine-connection.ts';
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

/** A model in a process of its own, restarted when it dies: a native crash does not reach the server. */
export interface EngineProcess extends Captioner {
  /**
   * Resolves when it is ready, after its first start or a restart.
   * @throws AvocadoError why the first start failed (`checkpoint_*`, `device_unavailable` …), `aborted`,
   *   `engine_unavailable` after close
   */
  ready(signal?: AbortSignal): Promise<void>;
}

const HEARTBEAT_TIMEOUT_MS = 30_000;
const START_TIMEOUT_MS = 60_000;
const STALL_MS = 120_000;

/** Requests wait while the process starts or restarts; it is an error only when it never will. */
async function readyConnection(supervisor: Supervisor, signal: AbortSignal | undefined): Promise<EngineConnection> {
  try {
    return await supervisor.ready(signal);
  } catch (thrown) {
    const error = asAvocadoError(thrown);
    if (signal?.aborted === true || error.code === 'aborted' || error.code === 'engine_unavailable') throw error;
    const message = `The engine could not be started: ${error.message}`;
    throw new AvocadoError('engine_unavailable', message, { cause: error });
  }
}

/** A request that waits to be admitted survives a restart: it is planned again, but admitted only once. */
async function submit(supervisor: Supervisor, request: CaptionRequest, options: SubmitOptions): Promise<void> {
  const { signal, onEvent, admit } = options;
  let admitted: Promise<void> | undefined;
  const admitOnce = admit && ((estimate: Estimate): Promise<void> => (admitted ??= admit(estimate)));
  try {
    for (;;) {
      const connection = await readyConnection(supervisor, signal);
      if ((await connection.submit(request, { signal, onEvent, admit: admitOnce })) === 'ended') return;
    }
  } catch (thrown) {
    onEvent(endingOf(thrown, signal));
  }
}

/**
 * Starts an engine process and resolves as soon as it has told which model it will serve; the weights load meanwhile,
 * see `ready()`. Requests may come at once, and wait.
 * @param fork starts a process; tests pass their own
 * @throws AvocadoError `checkpoint_not_found`, `checkpoint_invalid`, `export_*`, `engine_unavailable` (it
 *   cannot be started at all)
 */
export async function openEngineProcess(
  options: EngineProcessOptions,
  fork: ForkEngine = forkEngine,
): Promise<EngineProcess> {
  const { heartbeatTimeoutMs = HEARTBEAT_TIMEOUT_MS, stallMs = STALL_MS, restart = RESTART_TIMES } = options;
  const supervisor = new Supervisor({
    settings: options.settings,
    warmUpFile: WARM_UP_FILE,
    limits: { heartbeatTimeoutMs, stallMs, startTimeoutMs: Math.max(START_TIMEOUT_MS, heartbeatTimeoutMs) },
    restart,
    fork,
    onProgress: options.onProgress,
    onFault: options.onFault,
  });
  const described = await supervisor.described();
  return {
    get model() {
      return supervisor.model ?? described;
    },
    submit: (request, submitOptions) => submit(supervisor, request, submitOptions),
    estimate: async (request, signal) => (await readyConnection(supervisor, signal)).estimate(request, signal),
    status: () => supervisor.status(),
    stats: () => supervisor.stats(),
    ready: async (signal) => {
      await supervisor.ready(signal);
    },
    close: () => supervisor.close(),
  };
}
