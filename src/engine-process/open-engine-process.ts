import type { Captioner, CaptionerModel } from '../captioner/captioner.ts';
import { asAvocadoError, AvocadoError } from '../base/errors.ts';
import type { CaptionerOptions } from '../captioner/open-captioner.ts';
import type { CaptionEvent, CaptionRequest } from '../output/events.ts';
import { RESTART_TIMES, type BackOffTimes } from './back-off.ts';
import { forkEngine, type ForkEngine } from './fork-engine.ts';
import type { EngineLife } from './engine-life.ts';
import { Supervisor } from './supervisor.ts';
import { WARM_UP_FILES } from './warm-up-files.ts';

export interface EngineProcessOptions extends CaptionerOptions {
  /** most silence of its main loop before it is killed and replaced; default 30 s */
  readonly heartbeatTimeoutMs?: number | undefined;
  /** most time of work without progress before it is killed and replaced; default 120 s */
  readonly stallMs?: number | undefined;
  readonly restart?: BackOffTimes | undefined;
  /** a sentence about each crash or hang and what is done about it */
  readonly onFault?: ((sentence: string) => void) | undefined;
}

/** A model in a process of its own, which is restarted when it dies: a captioner that nothing native can take along. */
export interface EngineProcess extends Captioner {
  /**
   * Resolves when it is ready, after its first start or a restart.
   * @throws AvocadoError why the first start failed (`checkpoint_*`, `device_unavailable` …), `aborted`, `engine_unavailable` after close
   */
  ready(signal?: AbortSignal): Promise<void>;
}

const HEARTBEAT_TIMEOUT_MS = 30_000;
const START_TIMEOUT_MS = 60_000;
const STALL_MS = 120_000;

/** Requests wait for a process that starts; only one that never will is an error. */
async function living(supervisor: Supervisor, signal: AbortSignal | undefined): Promise<EngineLife> {
  try {
    return await supervisor.ready(signal);
  } catch (thrown) {
    const error = asAvocadoError(thrown);
    if (error.code === 'aborted' || error.code === 'engine_unavailable') throw error;
    throw new AvocadoError('engine_unavailable', `The engine could not be started: ${error.message}`, { cause: error });
  }
}

async function* caption(
  supervisor: Supervisor,
  request: CaptionRequest,
  signal: AbortSignal | undefined,
): AsyncGenerator<CaptionEvent> {
  let life: EngineLife;
  try {
    life = await living(supervisor, signal);
  } catch (thrown) {
    const { code, message } = asAvocadoError(thrown);
    yield code === 'aborted' ? { type: 'caption-aborted' } : { type: 'caption-error', code, message };
    return;
  }
  yield* life.requests.caption(request, signal);
}

/**
 * Starts an engine process and resolves as soon as it has told which model it will serve; the weights load meanwhile, see
 * `ready()`. Requests may come at once, and wait.
 * @param fork starts a process; a test hands in its own
 * @throws AvocadoError `checkpoint_not_found`, `checkpoint_invalid`, `export_*`, `engine_unavailable` (it cannot be started at all)
 */
export async function openEngineProcess(
  options: EngineProcessOptions,
  fork: ForkEngine = forkEngine,
): Promise<EngineProcess> {
  const {
    heartbeatTimeoutMs = HEARTBEAT_TIMEOUT_MS,
    stallMs = STALL_MS,
    restart = RESTART_TIMES,
    onFault,
    onProgress,
    ...settings
  } = options;
  const supervisor = new Supervisor({
    settings: { ...settings, warmUpFiles: WARM_UP_FILES },
    limits: { heartbeatTimeoutMs, stallMs, startTimeoutMs: Math.max(START_TIMEOUT_MS, heartbeatTimeoutMs) },
    restart,
    fork,
    onProgress,
    onFault,
  });
  const described: CaptionerModel = await supervisor.described();
  return {
    get model() {
      return supervisor.model ?? described;
    },
    caption: (request, signal) => caption(supervisor, request, signal),
    estimate: async (request, signal) => (await living(supervisor, signal)).requests.estimate(request, signal),
    status: () => supervisor.status(),
    stats: () => supervisor.stats(),
    ready: async (signal) => {
      await supervisor.ready(signal);
    },
    close: () => supervisor.close(),
  };
}
