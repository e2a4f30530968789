// The dry run: the pipeline's own steps, stopped where asked, with their numbers reported instead of a caption.
import { AvocadoError } from '../base/errors.ts';
import { toFloat32 } from '../base/floats.ts';
import {
  encodeMedia,
  mediaOrder,
  type CutPatches,
  type MediaEmbeddings,
  type MediaOrder,
} from '../encoder/encode-media.ts';
import { mediaTokens } from '../encoder/encode-request.ts';
import { prefillPrompt } from '../engine/prefill-cursor.ts';
import { copyOfSteps } from '../features/patches.ts';
import { createPreparePool, type PreparePool } from '../features/pool.ts';
import type { FrameStack, PreparedMedia } from '../features/types.ts';
import type { MediaPlan } from '../media/types.ts';
import { writeSafetensors, type DumpTensor } from '../model/checkpoint/safetensors.ts';
import type { Thinker } from '../model/execution/thinker.ts';
import type { CaptionRequest } from '../output/events.ts';
import { Stopwatch } from '../output/timings.ts';
import { buildPrompt, runLengths } from '../prompt/build-prompt.ts';
import type { Prompt, TokenCounts } from '../prompt/types.ts';
import type { EngineSettings } from '../settings/engine-settings.ts';
import { sequenceOf } from './generate.ts';
import { loadModel, openPlanningModel, PREPARE_THREADS, type ModelBasics, type OnProgress } from './open-captioner.ts';
import { planRequest, ProbeCache, type PlanningModel, type RequestPlan } from './plan.ts';

export type InspectStage = 'plan' | 'features' | 'towers' | 'logits';

/** How far to go, and what to write. */
export interface InspectTarget {
  readonly stage: InspectStage;
  /** safetensors file to write; undefined: none */
  readonly dump: string | undefined;
}

export interface InspectOptions extends InspectTarget {
  readonly settings: EngineSettings;
  readonly onProgress?: OnProgress | undefined;
}

/** What would be fed to the model; plain data. */
export interface InspectReport {
  readonly stage: InspectStage;
  readonly model: string;
  readonly preset: string;
  readonly profile: MediaPlan['profile'];
  readonly probe: MediaPlan['probe'];
  readonly frames:
    { readonly count: number; readonly indices: readonly number[]; readonly sampleFps: number } | undefined;
  readonly sizes:
    | {
        readonly stageA: { readonly height: number; readonly width: number };
        readonly final: { readonly height: number; readonly width: number };
      }
    | undefined;
  readonly grid: readonly number[] | undefined;
  readonly secondPerGrid: number | undefined;
  readonly tokens: TokenCounts;
  /** false while the sound's length is taken from the container (stage plan) */
  readonly tokensExact: boolean;
  readonly budget: {
    readonly context: number;
    readonly prompt: number;
    readonly maxTokens: number;
    readonly fits: boolean;
  };
  readonly runLengths: string;
  readonly ropeDelta: number;
  readonly warnings: readonly string[];
  readonly topTokens: readonly { readonly id: number; readonly text: string; readonly logit: number }[] | undefined;
  readonly dump: { readonly path: string; readonly tensors: readonly string[] } | undefined;
  readonly timings: Readonly<Record<string, number>>;
}

interface Inspected {
  readonly plan: RequestPlan;
  readonly prompt: Prompt;
  readonly media: PreparedMedia | undefined;
  readonly embeddings: MediaEmbeddings | undefined;
  readonly logits: Float32Array | undefined;
}

const PREFILL_CHUNK = 512;

/** Inspects requests one after the other; holds the worker threads, and the weights once a stage needs them. */
export interface Inspector {
  /**
   * Runs a request up to a stage and reports; with `dump`, writes the tensors under the names of the reference files.
   * A prompt over the budget is reported, not refused.
   * @throws AvocadoError as planRequest, and those of loading a model from stage `towers` on
   */
  inspect(request: CaptionRequest, target: InspectTarget, signal?: AbortSignal): Promise<InspectReport>;
  close(): Promise<void>;
}

/** What one run of an inspector works with. */
interface InspectParts {
  readonly model: ModelBasics;
  readonly pool: PreparePool;
  /** @param tokens that the KV cache must hold */
  readonly thinker: (tokens: number) => Promise<Thinker>;
  readonly watch: Stopwatch;
  readonly signal: AbortSignal | undefined;
}

/**
 * Reads the small files of a model; the weights are loaded by the first request that needs them.
 * @throws AvocadoError as openPlanningModel
 */
export async function openInspector(settings: EngineSettings, onProgress?: OnProgress): Promise<Inspector> {
  const model = await openPlanningModel(settings);
  const pool = createPreparePool({ threads: PREPARE_THREADS });
  let loaded: { readonly thinker: Thinker; readonly context: number } | undefined;
  const thinker = async (tokens: number): Promise<Thinker> => {
    if (loaded !== undefined && loaded.context >= tokens) return loaded.thinker;
    await loaded?.thinker.close();
    const context = Math.max(model.context, tokens);
    const one = { slots: 1, prefixSlots: 0, kvCacheBytes: undefined };
    const fresh = await loadModel({ ...settings, context, ...one }, model, onProgress);
    loaded = { thinker: fresh.thinker, context };
    return fresh.thinker;
  };
  return {
    inspect: async (request, target, signal) => {
      const watch = new Stopwatch();
      const parts = { model, pool, thinker, watch, signal };
      const plan = await watch.time('probe', planRequest(request, model, new ProbeCache(), signal));
      if (target.stage === 'plan') {
        const prompt = buildPrompt(plan.turn, mediaTokens(plan.media, plan.media.audio?.estimatedTokens), model.config);
        const planned = { plan, prompt, media: undefined, embeddings: undefined, logits: undefined };
        return report(planned, model, target, watch, undefined);
      }
      const inspected = await runStages(request, plan, target, parts);
      const dump = target.dump === undefined ? undefined : await writeDump(target.dump, inspected, model, pool);
      return report(inspected, model, target, watch, dump);
    },
    close: async () => {
      await pool.close();
      await loaded?.thinker.close();
    },
  };
}

/**
 * One request, inspected as by an Inspector of its own.
 * @throws AvocadoError as openInspector and its inspect
 */
export async function inspect(
  request: CaptionRequest,
  { settings, onProgress, ...target }: InspectOptions,
  signal?: AbortSignal,
): Promise<InspectReport> {
  const inspector = await openInspector(settings, onProgress);
  return await inspector.inspect(request, target, signal).finally(() => inspector.close());
}

/** decode → encode → prefill, as far as the stage goes. */
async function runStages(
  request: CaptionRequest,
  plan: RequestPlan,
  { stage, dump }: InspectTarget,
  { model, pool, thinker, watch, signal }: InspectParts,
): Promise<Inspected & { readonly media: PreparedMedia }> {
  const options = { preprocessor: model.preprocessor, keepWaveform: dump !== undefined };
  const media = await pool.prepare(plan.media, options, signal);
  watch.add(media.seconds);
  const prompt = buildPrompt(plan.turn, mediaTokens(media.plan, media.audio?.tokens), model.config);
  const decoded = { plan, prompt, media, embeddings: undefined, logits: undefined };
  if (stage === 'features') return decoded;
  const loaded = await watch.time('load', thinker(prompt.ids.length + 1));
  const embeddings = await encodeAll(media, model, loaded, pool, signal);
  watch.add({ vision: embeddings.visionSeconds, audio_tower: embeddings.audioSeconds });
  if (stage === 'towers') return { ...decoded, embeddings };
  const input = { request, plan, prompt, embeds: embeddings.embeds, mediaKey: undefined };
  const sequence = { ...sequenceOf(input, model), sampling: plan.sampling };
  const logits = await watch.time('prefill', prefillPrompt(sequence, loaded.decoder, PREFILL_CHUNK, signal));
  return { ...decoded, embeddings, logits };
}

function encodeAll(
  media: PreparedMedia,
  model: PlanningModel,
  { towers }: Thinker,
  pool: PreparePool,
  signal: AbortSignal | undefined,
): Promise<MediaEmbeddings> {
  const { hiddenSize } = model.config.text;
  return encodeMedia(media, orderOf(media, model), towers, pool.patches.bind(pool), { hiddenSize, signal });
}

function orderOf(media: PreparedMedia, { config }: PlanningModel): MediaOrder {
  return mediaOrder(mediaTokens(media.plan, media.audio?.tokens), config);
}

async function writeDump(
  path: string,
  inspected: Inspected & { readonly media?: PreparedMedia | undefined },
  model: PlanningModel,
  pool: PreparePool,
): Promise<InspectReport['dump']> {
  const { media } = inspected;
  if (media === undefined) throw new Error('A dump needs decoded media. This is a bug.');
  const tensors = dumpTensors({
    ...inspected,
    media,
    order: orderOf(media, model),
    patches: pool.patches.bind(pool),
    model,
  });
  await writeSafetensors(path, tensors).catch((cause: unknown) => {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === undefined) throw cause;
    const advice = 'Name a file in a directory that exists, with room for it, that you may write to.';
    throw new AvocadoError('bad_request', `${path} cannot be written (${code}). ${advice}`, { cause, param: 'dump' });
  });
  return { path, tensors: tensors.map(({ name }) => name) };
}

function topTokens(logits: Float32Array | undefined, model: PlanningModel): InspectReport['topTokens'] {
  if (logits === undefined) return undefined;
  const ids = Array.from(logits.keys()).sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0));
  return ids
    .slice(0, 5)
    .map((id) => ({ id, text: model.tokenizer.decode([id], { skipSpecial: false }), logit: logits[id] ?? 0 }));
}

function report(
  { plan, prompt, media, logits }: Inspected,
  model: PlanningModel,
  target: InspectTarget,
  watch: Stopwatch,
  dump: InspectReport['dump'],
): InspectReport {
  const { profile, probe, video } = media?.plan ?? plan.media;
  const { counts, ids, ropeDelta } = prompt;
  return {
    stage: target.stage,
    model: model.package.name,
    preset: model.package.preset,
    profile,
    probe,
    frames: video && { count: video.frameIndices.length, indices: video.frameIndices, sampleFps: video.sampleFps },
    sizes: video && { stageA: video.stageA, final: video.final },
    grid: video?.gridThw,
    secondPerGrid: video?.kind === 'video' ? video.secondPerGrid : undefined,
    tokens: counts,
    tokensExact: media !== undefined || counts.audio === 0,
    budget: {
      context: model.context,
      prompt: counts.total,
      maxTokens: plan.maxTokens,
      fits: counts.total + plan.maxTokens <= model.context,
    },
    runLengths: runLengths(ids, model.config.tokens, model.tokenizer.idOf('<|im_start|>')),
    ropeDelta,
    warnings: media?.warnings ?? [],
    topTokens: topTokens(logits, model),
    dump,
    timings: watch.stages(),
  };
}

interface DumpInput {
  readonly prompt: Prompt;
  readonly media: PreparedMedia;
  readonly embeddings: MediaEmbeddings | undefined;
  readonly logits: Float32Array | undefined;
  readonly order: MediaOrder;
  readonly patches: CutPatches;
  readonly model: Pick<PlanningModel, 'config'>;
}

/** Temporal steps cut at once while dumping: a few MB at the largest frame size. */
const STEPS_PER_PIECE = 4;

async function* patchPieces(frames: FrameStack, steps: number, cut: CutPatches): AsyncGenerator<Float32Array> {
  for (let from = 0; from < steps; from += STEPS_PER_PIECE)
    yield await cut(copyOfSteps(frames, from, Math.min(steps, from + STEPS_PER_PIECE)));
}

function visionTensors({ media, patches, model }: DumpInput): DumpTensor[] {
  const { frames, plan } = media;
  if (frames === undefined || plan.video === undefined) return [];
  const [steps, gridH, gridW] = plan.video.gridThw;
  const { channels, temporalPatchSize, patchSize } = model.config.vision;
  const still = plan.video.kind === 'image';
  const values: DumpTensor = {
    name: still ? 'pixel_values' : 'pixel_values_videos',
    dtype: 'F32',
    shape: [steps * gridH * gridW, channels * temporalPatchSize * patchSize ** 2],
    data: patchPieces(frames, steps, patches),
  };
  const grid = BigInt64Array.from([steps, gridH, gridW], BigInt);
  if (still) return [values, { name: 'image_grid_thw', dtype: 'I64', shape: [1, 3], data: grid }];
  const indices = Int32Array.from(plan.video.frameIndices);
  return [
    { name: 'frame_indices', dtype: 'I32', shape: [indices.length], data: indices },
    values,
    { name: 'video_grid_thw', dtype: 'I64', shape: [1, 3], data: grid },
    { name: 'second_per_grid', dtype: 'F64', shape: [1], data: Float64Array.of(plan.video.secondPerGrid) },
  ];
}

function audioTensors({ audio }: PreparedMedia): DumpTensor[] {
  if (audio === undefined) return [];
  const mel: DumpTensor = {
    name: 'input_features',
    dtype: 'F32',
    shape: [audio.mel.length / audio.frames, audio.frames],
    data: audio.mel,
  };
  if (audio.waveform === undefined) return [mel];
  return [{ name: 'waveform', dtype: 'F32', shape: [audio.waveform.length], data: audio.waveform }, mel];
}

function promptTensors({ ids, positions, ropeDelta }: Prompt): DumpTensor[] {
  return [
    { name: 'input_ids', dtype: 'I32', shape: [ids.length], data: ids },
    { name: 'position_ids', dtype: 'I32', shape: [3, ids.length], data: positions },
    { name: 'rope_delta', dtype: 'I64', shape: [1], data: BigInt64Array.of(BigInt(ropeDelta)) },
  ];
}

/** One modality's rows out of the interleaved embeddings, in that tower's own order. */
function embedTensor(
  name: string,
  { embeds, dtype }: MediaEmbeddings,
  order: Int32Array,
  hidden: number,
): DumpTensor[] {
  if (order.length === 0) return [];
  const rows = new Float32Array(order.length * hidden);
  order.forEach((row, index) => {
    rows.set(toFloat32(embeds.subarray(row * hidden, (row + 1) * hidden), dtype), index * hidden);
  });
  return [{ name, dtype: 'F32', shape: [order.length, hidden], data: rows }];
}

/** Every tensor known at the stage reached, under the names of the reference files. */
function dumpTensors(input: DumpInput): DumpTensor[] {
  const { embeddings, logits, order, model } = input;
  const hidden = model.config.text.hiddenSize;
  return [
    ...visionTensors(input),
    ...audioTensors(input.media),
    ...promptTensors(input.prompt),
    ...(embeddings === undefined ? [] : embedTensor('vision_embeds', embeddings, order.vision, hidden)),
    ...(embeddings === undefined ? [] : embedTensor('audio_embeds', embeddings, order.audio, hidden)),
    ...(logits === undefined
      ? []
      : [{ name: 'logits_last', dtype: 'F32' as const, shape: [logits.length], data: logits }]),
  ];
}
