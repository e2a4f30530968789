// Opens a model: small files, weights, worker pool, engine, caches; closes them in reverse order.
import { contentHash } from '../base/file-memo.ts';
import { AvocadoError } from '../base/errors.ts';
import { FileMemo } from '../base/file-memo.ts';
import { Foreground } from '../base/foreground.ts';
import { WorkClock } from '../base/work-clock.ts';
import { EncoderCache } from '../encoder/encoder-cache.ts';
import { MonitoredEncoders } from '../encoder/monitored-encoders.ts';
import { Engine } from '../engine/engine.ts';
import { createPreparePool } from '../features/pool.ts';
import { profileLabel, resolveProfile } from '../media/profile.ts';
import { loadThinker, type LoadedThinker } from '../model/execution/load-thinker.ts';
import type { Thinker } from '../model/execution/thinker.ts';
import { readModelFiles, type ModelFiles } from '../model/export/read-model-files.ts';
import { loadChatTemplate } from '../prompt/chat-template.ts';
import { loadTokenizer } from '../prompt/tokenizer.ts';
import { deviceNames, type Device, type EngineSettings, type Precision } from '../settings/engine-settings.ts';
import type { Captioner, CaptionerModel, CaptionerStats } from './captioner.ts';
import { serveRequest, type CaptionerContext } from './pipeline.ts';
import { estimateSegments, isSegmented, runSegments } from './segmented.ts';
import { estimateOf, planRequest, ProbeCache, type PlanningModel } from './plan.ts';

export type OnProgress = (text: string, done: number, total: number) => void;

/** Files decoded at the same time. */
export const PREPARE_THREADS = 2;
/** A hash takes about a hundred bytes. */
const HASHES_KEPT = 512;

/**
 * Prompt tokens in one run. On a CPU, quantised products are compute-bound from 64 rows on (measured at 3584 x 18944),
 * so a longer chunk only enlarges onnxruntime's arena: 0.3 GB at 512 rows of a 7B model. Unquantised ones still gain.
 * An H100 reads a prompt a fifth faster in chunks of 2,048 than of 512, and no faster in larger ones.
 */
function prefillChunkOf(precision: Precision, device: Device): number {
  if (device.type === 'cuda') return 2048;
  return precision === 'int8' || precision === 'int4' ? 128 : 512;
}

/** @throws AvocadoError `bad_request` when there are several */
function onlyDevice({ device: devices }: EngineSettings): Device {
  const [device, ...others] = devices;
  if (device !== undefined && others.length === 0) return device;
  const message = `A model in one process runs on one device, not on ${deviceNames(devices)}. A server and a batch take several.`;
  throw new AvocadoError('bad_request', message, { param: 'device' });
}

function checkContext({ context }: Pick<EngineSettings, 'context'>): void {
  if (Number.isInteger(context) && context >= 64) return;
  const message = `context must be a whole number of at least 64, not ${context}.`;
  throw new AvocadoError('bad_request', message, { param: 'context' });
}

/** The small files of a model: what a plan and a description need, without weights. */
export interface ModelBasics extends PlanningModel {
  /** of an export; undefined for a checkpoint */
  readonly manifest: ModelFiles['manifest'];
}

/**
 * Reads config, tokenizer and template of a checkpoint directory or of an export, each file once.
 * @throws AvocadoError `checkpoint_*`, `export_*`, `bad_request` for the context
 */
export async function openPlanningModel({
  modelDir,
  context,
  preset,
}: Pick<EngineSettings, 'modelDir' | 'context'> & Partial<Pick<EngineSettings, 'preset'>>): Promise<ModelBasics> {
  checkContext({ context });
  const { directory, ...files } = await readModelFiles(modelDir, preset);
  const [tokenizer, template] = await Promise.all([loadTokenizer(directory), loadChatTemplate(directory)]);
  tryModel(directory, { ...files, template });
  return { ...files, tokenizer, template, context };
}

/**
 * Uses what a model brings once, so that what is wrong with it is reported at the start and not by each request.
 * @throws AvocadoError `checkpoint_invalid`
 */
function tryModel(
  directory: string,
  { template, package: { profile } }: Pick<PlanningModel, 'template' | 'package'>,
): void {
  template.render({ systemPrompt: 'Describe.', userText: 'What is seen?', media: 'video' });
  try {
    resolveProfile(undefined, {}, profile);
  } catch (cause) {
    const message = `The profile in ${directory}/avocado.json cannot be used: ${(cause as Error).message}`;
    throw new AvocadoError('checkpoint_invalid', message, { cause });
  }
}

/**
 * The weights, ready to run.
 * @throws AvocadoError `tensor_*`, `precision_unsupported`, `runtime_unavailable`, `device_unavailable`,
 *   `bad_request` for several devices
 */
export async function loadModel(
  settings: EngineSettings,
  { config, manifest }: Pick<ModelBasics, 'config' | 'manifest'>,
  onProgress?: OnProgress,
): Promise<Pick<LoadedThinker, 'thinker' | 'precision'>> {
  checkContext(settings);
  const device = onlyDevice(settings);
  return await loadThinker({
    ...settings,
    device,
    capacity: settings.context,
    files: { config, manifest },
    onProgress,
  });
}

/** What a model is, from its small files alone. `runtime` is ''. */
function describe(
  settings: EngineSettings,
  model: Pick<ModelBasics, 'package' | 'config' | 'manifest' | 'context'>,
): CaptionerModel {
  const defaultPrecision = settings.device[0]?.type === 'cuda' ? 'bf16' : 'fp32';
  return {
    name: model.package.name,
    directory: model.config.directory,
    precision: settings.precision ?? model.manifest?.precision ?? defaultPrecision,
    device: deviceNames(settings.device),
    runtime: '',
    context: model.context,
    slots: settings.slots * settings.device.length,
    profile: profileLabel(resolveProfile(undefined, {}, model.package.profile)),
    preset: model.package.preset,
  };
}

/**
 * What a model is, without opening it: only its small files are read.
 * @throws AvocadoError `checkpoint_*`, `export_*`
 */
export async function describeModel(settings: EngineSettings): Promise<CaptionerModel> {
  const { modelDir, preset, context } = settings;
  return describe(settings, { ...(await readModelFiles(modelDir, preset)), context });
}

/**
 * Opens a model in this process.
 * @param onDescribed called as soon as the small files are read, long before the weights are loaded
 * @throws AvocadoError as openPlanningModel and loadModel
 */
export async function openCaptioner(
  settings: EngineSettings,
  onProgress?: OnProgress,
  onDescribed?: (model: CaptionerModel) => void,
): Promise<Captioner> {
  const model = await openPlanningModel(settings);
  onDescribed?.(describe(settings, model));
  return createCaptioner(settings, model, await loadModel(settings, model, onProgress));
}

/** A captioner over a loaded model, which it closes. */
export function createCaptioner(
  settings: EngineSettings,
  model: ModelBasics,
  { thinker, precision }: Pick<LoadedThinker, 'thinker' | 'precision'>,
): Captioner {
  const foreground = new Foreground();
  const pool = createPreparePool({ threads: PREPARE_THREADS, foreground });
  const clock = new WorkClock();
  const engine = new Engine(thinker.decoder, {
    foreground,
    clock,
    prefillChunk: prefillChunkOf(precision, onlyDevice(settings)),
    onFault: (error) => {
      console.error(error.message);
    },
  });
  const isCaching = settings.mediaCacheBytes > 0 || settings.prefixSlots > 0;
  const context: CaptionerContext = {
    ...model,
    engine,
    pool: {
      ...pool,
      prepare: (...job) => clock.time('files', () => pool.prepare(...job)),
      prepareBehind: (...job) => clock.time('files', () => pool.prepareBehind(...job)),
    },
    foreground,
    decodeTimeoutSeconds: settings.decodeTimeoutSeconds,
    towers: new MonitoredEncoders(thinker.towers, clock),
    probes: new ProbeCache((path, options, signal) =>
      pool.probe(path, { ...options, limits: { maxDurationSeconds: settings.maxMediaSeconds } }, signal),
    ),
    hashes: isCaching ? new FileMemo(contentHash, HASHES_KEPT) : undefined,
    encodings: new EncoderCache(settings.mediaCacheBytes),
    segmentsAtOnce: settings.slots,
  };
  let closed = false;
  return {
    submit: (request, options) => serveRequest(request, context, options, runSegments),
    estimate: async (request, signal) => {
      if (isSegmented(request)) return await estimateSegments(request, context, context.probes, signal);
      return estimateOf(await planRequest(request, context, context.probes, signal), context.context);
    },
    model: { ...describe(settings, model), ...loadedFacts(thinker, precision) },
    status: () => ({
      state: closed ? 'stopped' : 'ready',
      text: closed ? 'The captioner was closed.' : '',
      done: 1,
      total: 1,
      restarts: 0,
      pid: undefined,
    }),
    stats: () => statsOf(engine, context, thinker, clock),
    close: async () => {
      closed = true;
      await engine.close();
      await pool.close();
      await thinker.close();
    },
  };
}

function loadedFacts(
  { description, decoder }: Thinker,
  precision: Precision,
): Pick<CaptionerModel, 'precision' | 'runtime' | 'slots'> {
  const runtime = `${description['runtime'] ?? ''} ${description['version'] ?? ''}`.trim();
  return { precision, runtime, slots: decoder.slots };
}

function statsOf(
  engine: Engine,
  { encodings, towers, pool }: Pick<CaptionerContext, 'encodings' | 'towers' | 'pool'>,
  { decoder }: Thinker,
  clock: WorkClock,
): CaptionerStats {
  const { prefixHits, prefixMisses, progress, ...numbers } = engine.stats();
  return {
    ...numbers,
    slots: decoder.slots,
    busy: towers.busy || numbers.waiting + numbers.running > 0,
    progress: progress + towers.finished,
    decoding: pool.stats(),
    caches: { media: encodings.counts(), prefix: { hits: prefixHits, misses: prefixMisses } },
    recordedSteps: decoder.recordedSteps,
    busySeconds: clock.seconds(),
  };
}
