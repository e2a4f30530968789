// Loads a Thinker from a model directory: finds or makes the export, opens a runtime, three sessions and the KV cache.
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { AvocadoError } from '../../base/errors.ts';
import type { Device, Precision, RuntimeLog } from '../../settings/engine-settings.ts';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import type { ModelConfig, TextConfig } from '../checkpoint/config-types.ts';
import { SlotDecoder } from './decoder.ts';
import { checkExportDevice, checkExportPrecision, ensureExport } from '../export/export-cache.ts';
import { parsePrecision } from '../export/export.ts';
import { GRAPH_FILES, type Manifest } from '../export/manifest.ts';
import { decoderMatrices, graphPrecision, isQuantised } from '../export/quantised-weights.ts';
import { readModelFiles, type ModelFiles } from '../export/read-model-files.ts';
import { DECODER_HOST_INPUTS, type DecoderGraphOptions } from '../graphs/decoder.ts';
import { ACTIVATION_DTYPE } from '../graphs/graph-builder.ts';
import { openRuntime } from '../runtime/open-runtime.ts';
import type { Runtime, SessionOptions } from '../runtime/runtime.ts';
import type { Thinker } from './thinker.ts';
import { onDemandSessions, residentSessions, type LoadSession, type ThinkerSessions } from './tower-residency.ts';
import { ThinkerTowers } from './towers.ts';

export interface LoadOptions {
  /** a Hugging Face checkpoint directory, or an export of one */
  readonly modelDir: string;
  /** what readModelFiles(modelDir) returned; undefined: they are read here */
  readonly files?: Pick<ModelFiles, 'config' | 'manifest'> | undefined;
  /** undefined: the export's precision; for a checkpoint fp32 on a CPU, bf16 on CUDA */
  readonly precision?: Precision | undefined;
  readonly device: Device;
  /** undefined: the native one if it is built, otherwise onnxruntime-node */
  readonly runtime?: 'native' | 'node' | undefined;
  /** 0: all cores; for the decoder, decoderThreads() */
  readonly threads: number;
  readonly spinning: boolean;
  /** what onnxruntime itself writes to stderr; default: silent */
  readonly runtimeLog?: RuntimeLog | undefined;
  readonly slots: number;
  /** additional slots that keep the start of prompts, for other prompts with the same start; default 0 */
  readonly prefixSlots?: number | undefined;
  /** tokens a slot can hold; on a CPU, memory is used only as slots fill */
  readonly capacity: number;
  /** memory of all slots together; undefined: enough to fill them */
  readonly kvCacheBytes?: number | undefined;
  /** `on-demand` keeps the towers in memory only while they are used; default: on-demand for int8 and int4 on a CPU */
  readonly towers?: 'resident' | 'on-demand' | undefined;
  /** CUDA: record decode steps as CUDA graphs; default true */
  readonly recordSteps?: boolean | undefined;
  /** of a decoder that is exported here */
  readonly decoder?: DecoderGraphOptions | undefined;
  readonly cacheDir?: string | undefined;
  readonly onProgress?: ((text: string, done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface LoadedThinker {
  readonly thinker: Thinker;
  readonly config: ModelConfig;
  readonly precision: Precision;
}

/**
 * GroupQueryAttention has fp32 kernels on a CPU, fp16 and bf16 kernels on CUDA (onnxruntime.md, GroupQueryAttention).
 * The activations of int8 and int4 are fp32 on a CPU, bf16 on CUDA.
 */
const RUNS_ON: Readonly<Record<Device['type'], readonly Precision[]>> = {
  cpu: ['fp32', 'int8', 'int4'],
  cuda: ['bf16', 'fp16', 'int8', 'int4'],
};

function checkDevice(precision: Precision, { type }: Device): void {
  if (RUNS_ON[type].includes(precision)) return;
  const advice = `use one of ${RUNS_ON[type].join(', ')}, or another device`;
  throw new AvocadoError('precision_unsupported', `Precision ${precision} does not run on ${type}: ${advice}.`, {
    param: 'precision',
  });
}

/**
 * Refuses what cannot run. @returns what finds or makes the export: quantising takes minutes, so that comes after all
 * else that may be missing
 */
function chooseExport(
  { config, manifest }: Pick<ModelFiles, 'config' | 'manifest'>,
  options: LoadOptions,
): () => Promise<Manifest> {
  const given = options.precision === undefined ? undefined : parsePrecision(options.precision);
  if (manifest !== undefined) {
    checkDevice(given ?? manifest.precision, options.device);
    checkExportPrecision(manifest, given);
    checkExportDevice(manifest, options.device.type);
    return () => Promise.resolve(manifest);
  }
  const precision = given ?? (options.device.type === 'cuda' ? 'bf16' : 'fp32');
  checkDevice(precision, options.device);
  const { modelDir, cacheDir, signal, onProgress } = options;
  return () =>
    ensureExport(modelDir, precision, {
      config,
      device: options.device.type,
      decoder: options.decoder,
      cacheDir,
      signal,
      onProgress: (done, total) => onProgress?.('Quantising weights', done, total),
    });
}

/** Weights that need no conversion stay mapped from the checkpoint's files: no copy, and shared between processes. */
async function mapsWeights({ precision }: Manifest, config: ModelConfig): Promise<boolean> {
  if (precision !== 'fp32') return false;
  const checkpoint = await openCheckpoint(config.directory);
  return checkpoint.plain('model.embed_tokens.weight', [config.text.vocabSize, config.text.hiddenSize]).dtype === 'F32';
}

/** A thread that reads less than this in a step takes as long to be woken for each product. */
const BYTES_PER_THREAD = 4e6;

/**
 * Threads of a decoder on a CPU where none are asked for: one for each 4 MB of weights in float32, at most all cores.
 * avocado-nano gets four; one of half a billion parameters would have use for hundreds.
 * @returns 0: the runtime takes all cores
 */
export function decoderThreads(text: TextConfig, cores = availableParallelism()): number {
  const { layers, head } = decoderMatrices(text);
  const weights = [...layers, head].reduce((sum, { n, k }) => sum + n * k, 0);
  const useful = Math.ceil((weights * Float32Array.BYTES_PER_ELEMENT) / BYTES_PER_THREAD);
  return useful < cores ? useful : 0;
}

async function loadSessions(
  runtime: Runtime,
  manifest: Manifest,
  session: SessionOptions,
  text: TextConfig,
  options: LoadOptions,
): Promise<ThinkerSessions> {
  const isOnCpu = options.device.type === 'cpu';
  const ofDecoder = session.threads === 0 && isOnCpu ? decoderThreads(text) : session.threads;
  let done = 0;
  const load =
    (part: keyof typeof GRAPH_FILES): LoadSession =>
    async () => {
      options.onProgress?.(`Loading ${part}`, done, 3);
      const model = await readFile(join(manifest.directory, GRAPH_FILES[part]));
      const recordings = options.recordSteps !== false;
      const ofPart =
        part === 'decoder'
          ? { threads: ofDecoder, recordings, hostInputs: DECODER_HOST_INPUTS }
          : { recordings: false };
      const loaded = await runtime.createSession(model, { ...session, ownKernels: isOnCpu, ...ofPart });
      done = Math.min(done + 1, 3);
      options.onProgress?.(`Loading ${part}`, done, 3);
      return loaded;
    };
  const loads = { vision: load('vision'), audio: load('audio'), decoder: load('decoder') };
  const isSmall = isQuantised(manifest.precision) && isOnCpu;
  const towers = options.towers ?? (isSmall ? 'on-demand' : 'resident');
  return towers === 'on-demand' ? onDemandSessions(loads) : residentSessions(loads);
}

/** The device runs the decoder, but cannot record its steps. */
class NotRecorded extends Error {}

async function recordSteps(decoder: SlotDecoder, { onProgress }: LoadOptions): Promise<void> {
  try {
    await decoder.recordSteps((done, total) => onProgress?.('Recording decode steps', done, total));
  } catch (error) {
    if (error instanceof AvocadoError && error.code === 'engine_error')
      throw new NotRecorded(error.message, { cause: error });
    throw error;
  }
}

/**
 * Loads a model, after exporting it into the cache if needed.
 * @throws AvocadoError `checkpoint_*`, `tensor_*`, `export_*`, `precision_unsupported`, `runtime_unavailable`,
 * `device_unavailable`, `engine_error` (out of memory)
 */
export async function loadThinker(options: LoadOptions): Promise<LoadedThinker> {
  const files = options.files ?? (await readModelFiles(options.modelDir));
  const findExport = chooseExport(files, options);
  try {
    return await openThinker(files.config, findExport, options);
  } catch (error) {
    if (!(error instanceof NotRecorded)) throw error;
    console.error(
      `Decode steps cannot be recorded as CUDA graphs and take about a tenth longer without. ${error.message}`,
    );
    return await openThinker(files.config, findExport, { ...options, recordSteps: false });
  }
}

async function openThinker(
  config: ModelConfig,
  findExport: () => Promise<Manifest>,
  options: LoadOptions,
): Promise<LoadedThinker> {
  const runtime = await openRuntime({ runtime: options.runtime, device: options.device });
  const opened: { release(): unknown }[] = [];
  const close = async (): Promise<void> => {
    for (const part of opened) await part.release();
    await runtime.close();
  };
  try {
    const manifest = await findExport();
    const { precision } = manifest;
    const { device, threads, spinning, runtimeLog, slots, prefixSlots = 0, capacity } = options;
    const session = { device, threads, spinning, runtimeLog, disablePrepacking: await mapsWeights(manifest, config) };
    const {
      vision,
      audio,
      decoder: decoderSession,
    } = await loadSessions(runtime, manifest, session, config.text, options);
    opened.push(vision, audio, decoderSession);
    const dtype = ACTIVATION_DTYPE[graphPrecision(precision, device.type)];
    const cache = { dtype, slots, prefixSlots, capacity, cacheBytes: options.kvCacheBytes };
    const decoder = await SlotDecoder.create(config, { runtime, session: decoderSession, device, ...cache });
    opened.push(decoder);
    await recordSteps(decoder, options);
    const shape = { device: device.type, precision, slots, prefixSlots, capacity };
    const description = { runtime: runtime.name, version: runtime.version, ...shape };
    const towers = new ThinkerTowers(config, vision, audio, {
      dtype,
      onCard: device.type === 'cuda' && options.towers !== 'on-demand',
    });
    return { thinker: { towers, decoder, description, close }, config, precision };
  } catch (error) {
    await close();
    throw error;
  }
}
