import { Engine } from '../engine/engine.ts';
import { AvocadoError } from '../base/errors.ts';
import { createPreparePool, type PreparePool } from '../features/pool.ts';
import {
  readModelConfig,
  readPreprocessorConfig,
  readStopIds,
  type PreprocessorConfig,
} from '../model/checkpoint/config.ts';
import type { ModelConfig } from '../model/checkpoint/config-types.ts';
import { checkpointDirectoryOf } from '../model/export/read-model-files.ts';
import { loadThinker, type LoadedThinker } from '../model/execution/load-thinker.ts';
import { readModelPackage, type ModelPackage } from '../model/checkpoint/model-package.ts';
import type { Thinker } from '../model/execution/thinker.ts';
import { loadChatTemplate, type ChatTemplate } from '../prompt/chat-template.ts';
import { loadTokenizer, type Tokenizer } from '../prompt/tokenizer.ts';
import type { Precision, Device } from '../settings/engine-settings.ts';

export interface OpenOptions {
  readonly modelDir: string;
  /** undefined: fp32 on a CPU, bf16 on CUDA */
  readonly precision: Precision | undefined;
  readonly device: Device;
  readonly runtime: 'native' | 'node' | undefined;
  /** intra-op threads; 0 = the runtime's choice */
  readonly threads: number;
  /** threads that wait for work keep their core busy: faster alone, much slower beside other work */
  readonly spinning: boolean;
  readonly slots: number;
  /**
   * slots beside them that keep the start of prompts: the same clip asked again is not read again; undefined = 0. Each takes the
   * memory of a slot once it is used (on CUDA at once).
   */
  readonly prefixSlots?: number | undefined;
  /** most tokens of prompt and caption together; undefined = 32,768 (the paper's budget) */
  readonly context: number | undefined;
  readonly cacheDir: string | undefined;
  readonly onProgress?: ((text: string, done: number, total: number) => void) | undefined;
}

/** What is read of a model before any weight: enough to plan a request. */
export interface PlanningFiles {
  readonly package: ModelPackage;
  readonly config: ModelConfig;
  readonly context: number;
  readonly preprocessor: PreprocessorConfig;
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  readonly stopIds: readonly number[];
}

/** Everything one process needs to caption: opened once, used by every request, closed in reverse order. */
export interface OpenModel extends PlanningFiles {
  readonly precision: Precision;
  readonly device: string;
  readonly pool: PreparePool;
  readonly thinker: Thinker;
  readonly engine: Engine;
  close(): Promise<void>;
}

/** The paper's budget: prompt and caption together. */
export const DEFAULT_CONTEXT = 32_768;

const PREPARE_THREADS = 2;

/**
 * Prompt tokens in one run. Quantised products are bound by arithmetic from 64 rows on (measured at 3584 x 18944), so a longer
 * chunk only makes onnxruntime's arena larger: 0.3 GB at 512 rows of a 7B model. Unquantised ones still gain.
 */
function prefillChunkOf(precision: Precision): number {
  return precision === 'int4' ? 128 : 512;
}

export function deviceName(device: Device): string {
  return device.type === 'cpu' ? 'cpu' : `cuda:${device.index}`;
}

function contextOf(options: Pick<OpenOptions, 'context'>): number {
  const context = options.context ?? DEFAULT_CONTEXT;
  if (Number.isInteger(context) && context >= 64) return context;
  throw new AvocadoError('bad_request', `context must be a whole number of at least 64, not ${context}.`, {
    param: 'context',
  });
}

/** Config, tokenizer and template of a checkpoint directory or of an export. @throws AvocadoError `checkpoint_*`, `export_*` */
export async function openPlanningModel(options: Pick<OpenOptions, 'modelDir' | 'context'>): Promise<PlanningFiles> {
  const directory = await checkpointDirectoryOf(options.modelDir);
  const config = await readModelConfig(directory);
  const [modelPackage, preprocessor, tokenizer, template, stopIds] = await Promise.all([
    readModelPackage(directory),
    readPreprocessorConfig(directory),
    loadTokenizer(directory),
    loadChatTemplate(directory),
    readStopIds(directory),
  ]);
  return { package: modelPackage, config, context: contextOf(options), preprocessor, tokenizer, template, stopIds };
}

/** The weights, ready to run. @throws AvocadoError `tensor_*`, `precision_unsupported`, `runtime_unavailable`, `device_unavailable` */
export async function loadModelThinker(options: OpenOptions): Promise<Pick<LoadedThinker, 'thinker' | 'precision'>> {
  return await loadThinker({ ...options, capacity: contextOf(options) });
}

/** Opens a checkpoint directory or an export of one for captioning. */
export async function openModel(options: OpenOptions): Promise<OpenModel> {
  const files = await openPlanningModel(options);
  const { thinker, precision } = await loadModelThinker(options);
  const pool = createPreparePool({ threads: PREPARE_THREADS });
  const engine = new Engine(thinker.decoder, { prefillChunk: prefillChunkOf(precision) });
  const close = async (): Promise<void> => {
    await engine.close();
    await pool.close();
    await thinker.close();
  };
  return { ...files, precision, device: deviceName(options.device), pool, thinker, engine, close };
}
