// From a directory to a Thinker: the export that fits, a runtime, three sessions, and the cache.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AvocadoError } from '../../base/errors.ts';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import type { ModelConfig } from '../checkpoint/config-types.ts';
import { readModelConfig } from '../checkpoint/config.ts';
import { SlotDecoder } from './decoder.ts';
import { ensureExport, isExport } from '../export/export-cache.ts';
import { parsePrecision } from '../export/export.ts';
import { GRAPH_FILES, type Manifest } from '../export/manifest.ts';
import { ACTIVATION_DTYPE } from '../graphs/onnx/graph-builder.ts';
import { openRuntime } from '../runtime/open-runtime.ts';
import type { Runtime, SessionOptions } from '../runtime/runtime.ts';
import type { Thinker } from './thinker.ts';
import { onDemandSessions, residentSessions, type LoadSession, type ThinkerSessions } from './tower-residency.ts';
import { ThinkerTowers } from './towers.ts';
import type { Precision, Device } from '../../settings/engine-settings.ts';

export interface LoadOptions {
  /** a Hugging Face checkpoint directory, or an export of one */
  readonly modelDir: string;
  /** undefined: what the export has; for a checkpoint fp32 on a CPU, bf16 on CUDA */
  readonly precision?: Precision | undefined;
  readonly device: Device;
  /** undefined: the native one where it is built, else onnxruntime-node */
  readonly runtime?: 'native' | 'node' | undefined;
  readonly threads: number;
  readonly spinning: boolean;
  readonly slots: number;
  /** slots beside them that keep the start of prompts for others that start alike; default 0 */
  readonly prefixSlots?: number | undefined;
  /** tokens a slot can hold; memory is taken as slots fill, not here */
  readonly capacity: number;
  /** `on-demand` keeps the towers in memory only while they work; default: on-demand for int4 */
  readonly towers?: 'resident' | 'on-demand' | undefined;
  readonly cacheDir?: string | undefined;
  readonly onProgress?: ((text: string, done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface LoadedThinker {
  readonly thinker: Thinker;
  readonly config: ModelConfig;
  readonly precision: Precision;
  /** real path; tokenizer and preprocessor settings lie there */
  readonly checkpointDirectory: string;
}

/** The kernels decide: GroupQueryAttention takes fp32 on a CPU, fp16 and bf16 on CUDA (docs/onnxruntime.md 1.1). */
const RUNS_ON: Readonly<Record<Device['type'], readonly Precision[]>> = {
  cpu: ['fp32', 'int4'],
  cuda: ['bf16', 'fp16'],
};

function checkDevice(precision: Precision, { type }: Device): void {
  if (RUNS_ON[type].includes(precision)) return;
  const advice = `use one of ${RUNS_ON[type].join(', ')}, or another device`;
  throw new AvocadoError('precision_unsupported', `Precision ${precision} does not run on ${type}: ${advice}.`, {
    param: 'precision',
  });
}

async function findExport(options: LoadOptions): Promise<Manifest> {
  const given = options.precision === undefined ? undefined : parsePrecision(options.precision);
  const fallback = options.device.type === 'cuda' ? 'bf16' : 'fp32';
  const precision = given ?? ((await isExport(options.modelDir)) ? undefined : fallback);
  if (precision !== undefined) checkDevice(precision, options.device);
  const { cacheDir, signal, onProgress } = options;
  const manifest = await ensureExport(options.modelDir, precision, {
    cacheDir,
    signal,
    onProgress: (done, total) => onProgress?.('Quantising weights', done, total),
  });
  checkDevice(manifest.precision, options.device);
  return manifest;
}

/** Weights stay mapped from the checkpoint where they need no conversion: no copy, and shared between processes. */
async function mapsWeights({ precision }: Manifest, config: ModelConfig): Promise<boolean> {
  if (precision !== 'fp32') return false;
  const checkpoint = await openCheckpoint(config.directory);
  return checkpoint.plain('model.embed_tokens.weight', [config.text.vocabSize, config.text.hiddenSize]).dtype === 'F32';
}

async function loadSessions(
  runtime: Runtime,
  manifest: Manifest,
  session: SessionOptions,
  options: LoadOptions,
): Promise<ThinkerSessions> {
  let done = 0;
  const load =
    (part: keyof typeof GRAPH_FILES): LoadSession =>
    async () => {
      options.onProgress?.(`Loading ${part}`, done, 3);
      const loaded = await runtime.createSession(await readFile(join(manifest.directory, GRAPH_FILES[part])), session);
      done = Math.min(done + 1, 3);
      options.onProgress?.(`Loading ${part}`, done, 3);
      return loaded;
    };
  const loads = { vision: load('vision'), audio: load('audio'), decoder: load('decoder') };
  const towers = options.towers ?? (manifest.precision === 'int4' ? 'on-demand' : 'resident');
  return towers === 'on-demand' ? onDemandSessions(loads) : residentSessions(loads);
}

/**
 * Loads a model for use, exporting it into the cache first where needed.
 * @throws AvocadoError `checkpoint_*`, `tensor_*`, `export_*`, `precision_unsupported`, `runtime_unavailable`,
 * `device_unavailable`, `engine_error` (out of memory)
 */
export async function loadThinker(options: LoadOptions): Promise<LoadedThinker> {
  const manifest = await findExport(options);
  const { precision, checkpoint } = manifest;
  const config = await readModelConfig(checkpoint.directory);
  const runtime = await openRuntime({ runtime: options.runtime, device: options.device });
  let sessions: ThinkerSessions | undefined;
  try {
    const { device, threads, spinning, slots, prefixSlots = 0, capacity } = options;
    const session = { device, threads, spinning, disablePrepacking: await mapsWeights(manifest, config) };
    sessions = await loadSessions(runtime, manifest, session, options);
    const { vision, audio, decoder: decoderSession } = sessions;
    const cache = { dtype: ACTIVATION_DTYPE[precision], slots, prefixSlots, capacity };
    const decoder = await SlotDecoder.create(config, { runtime, session: decoderSession, device, ...cache });
    const close = async (): Promise<void> => {
      for (const part of [vision, audio, decoderSession]) await part.release();
      decoder.release();
      await runtime.close();
    };
    const description = {
      runtime: runtime.name,
      version: runtime.version,
      device: device.type,
      precision,
      slots,
      prefixSlots,
      capacity,
    };
    const thinker = { towers: new ThinkerTowers(config, vision, audio), decoder, description, close };
    return { thinker, config, precision, checkpointDirectory: checkpoint.directory };
  } catch (error) {
    for (const part of Object.values(sessions ?? {}) as ThinkerSessions['vision'][]) await part.release();
    await runtime.close();
    throw error;
  }
}
