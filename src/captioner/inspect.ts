// The dry run: the same stages as caption.ts, stopped where asked, every number shown instead of words.
import { encodeMedia, mediaOrder, mediaRows, type MediaEmbeddings, type MediaOrder } from '../encoder/encode-media.ts';
import { dumpTensors } from './inspect-dump.ts';
import type { PreparedMedia } from '../features/types.ts';
import { createPreparePool, type PreparePool } from '../features/pool.ts';
import type { MediaPlan } from '../media/types.ts';
import { writeSafetensors } from '../model/checkpoint/safetensors.ts';
import type { Thinker } from '../model/execution/thinker.ts';
import { loadModelThinker, openPlanningModel, type OpenOptions } from './open-model.ts';
import { mediaTokens, planRequest, promptOf, type PlannedRequest, type PlanningModel } from './plan-request.ts';
import type { Prompt, TokenCounts } from '../prompt/types.ts';
import type { CaptionRequest } from '../output/events.ts';
import { Stopwatch } from '../output/stopwatch.ts';

export type InspectStage = 'plan' | 'features' | 'towers' | 'logits';

export interface InspectOptions extends OpenOptions {
  readonly stage: InspectStage;
  /** safetensors file to write, undefined = none */
  readonly dump: string | undefined;
}

/** What would be fed to the model; plain data. */
export interface InspectReport {
  readonly stage: InspectStage;
  readonly model: string;
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
  /** false while the sound's tokens are the container's word (stage plan) */
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
  readonly planned: PlannedRequest;
  readonly prompt: Prompt;
  readonly media: PreparedMedia | undefined;
  readonly embeddings: MediaEmbeddings | undefined;
  readonly logits: Float32Array | undefined;
}

/**
 * Runs a request up to a stage and reports; with `dump`, writes the tensors under golden names. A prompt over the budget is
 * reported, not refused.
 * @throws AvocadoError as planRequest, and those of loading a model from stage `towers` on
 */
export async function inspect(
  request: CaptionRequest,
  options: InspectOptions,
  signal?: AbortSignal,
): Promise<InspectReport> {
  const watch = new Stopwatch();
  const model = await openPlanningModel(options);
  const planned = await watch.time('probe', planRequest(request, model, signal, { enforceBudget: false }));
  if (options.stage === 'plan') {
    return report(
      { planned, prompt: planned.draft, media: undefined, embeddings: undefined, logits: undefined },
      model,
      options,
      watch,
      undefined,
    );
  }
  const pool = createPreparePool({ threads: 2 });
  try {
    return await inspectDecoded(planned, model, pool, options, watch, signal);
  } finally {
    await pool.close();
  }
}

async function inspectDecoded(
  planned: PlannedRequest,
  model: PlanningModel,
  pool: PreparePool,
  options: InspectOptions,
  watch: Stopwatch,
  signal: AbortSignal | undefined,
): Promise<InspectReport> {
  const media = await pool.prepare(
    planned.plan,
    { preprocessor: model.preprocessor, keepWaveform: options.dump !== undefined },
    signal,
  );
  watch.add(media.seconds);
  const prompt = promptOf(planned, mediaTokens(media.plan, media.audio?.tokens), model);
  let thinker: Thinker | undefined;
  try {
    let embeddings: MediaEmbeddings | undefined;
    let logits: Float32Array | undefined;
    if (options.stage !== 'features') {
      ({ thinker } = await watch.time(
        'load',
        loadModelThinker({ ...options, context: Math.max(model.context, prompt.ids.length + 1), slots: 1 }),
      ));
      const order = orderOf(media, model);
      embeddings = await encodeMedia(media, order, thinker.towers, pool.patches.bind(pool), {
        hiddenSize: model.config.text.hiddenSize,
        signal,
      });
      watch.add({ vision: embeddings.visionSeconds, audio_tower: embeddings.audioSeconds });
    }
    if (options.stage === 'logits' && thinker !== undefined && embeddings !== undefined) {
      logits = await watch.time(
        'prefill',
        prefillAll(thinker, prompt, mediaRows(prompt.ids, model.config.tokens), embeddings, signal),
      );
    }
    const inspected = { planned, prompt, media, embeddings, logits };
    const dump = options.dump === undefined ? undefined : await writeDump(options.dump, inspected, model, pool);
    return report(inspected, model, options, watch, dump);
  } finally {
    await thinker?.close();
  }
}

function orderOf(media: PreparedMedia, { config }: PlanningModel): MediaOrder {
  return mediaOrder(mediaTokens(media.plan, media.audio?.tokens), config);
}

const PREFILL_CHUNK = 512;

/** The whole prompt through the decoder. @returns logits [vocab] of its last token */
async function prefillAll(
  thinker: Thinker,
  prompt: Prompt,
  rows: Int32Array,
  { embeds }: MediaEmbeddings,
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  const length = prompt.ids.length;
  const hidden = thinker.decoder.hiddenSize;
  let logits: Float32Array | undefined;
  for (let start = 0; start < length; start += PREFILL_CHUNK) {
    const end = Math.min(length, start + PREFILL_CHUNK);
    const first = rows.findIndex((row) => row >= start);
    const from = first === -1 ? rows.length : first;
    const after = rows.findIndex((row) => row >= end);
    const to = after === -1 ? rows.length : after;
    const positions = new Int32Array(3 * (end - start));
    for (let axis = 0; axis < 3; axis++)
      positions.set(prompt.positions.subarray(axis * length + start, axis * length + end), axis * (end - start));
    const chunk = {
      slot: 0,
      start,
      ids: prompt.ids.slice(start, end),
      positions,
      mediaRows: rows.slice(from, to).map((row) => row - start),
      mediaEmbeds: embeds.slice(from * hidden, to * hidden),
      wantLogits: end === length,
    };
    logits = await thinker.decoder.prefill(chunk, { signal });
  }
  if (logits === undefined) throw new Error('The last prefill chunk gave no logits. This is a bug.');
  return logits.slice();
}

async function writeDump(
  path: string,
  inspected: Inspected,
  model: PlanningModel,
  pool: PreparePool,
): Promise<InspectReport['dump']> {
  if (inspected.media === undefined) throw new Error('A dump needs decoded media. This is a bug.');
  const tensors = dumpTensors({
    ...inspected,
    media: inspected.media,
    order: orderOf(inspected.media, model),
    patches: pool.patches.bind(pool),
    model,
  });
  await writeSafetensors(path, tensors);
  return { path, tensors: tensors.map(({ name }) => name) };
}

function topTokens(logits: Float32Array | undefined, model: PlanningModel): InspectReport['topTokens'] {
  if (logits === undefined) return undefined;
  const ids = Array.from(logits.keys()).sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0));
  return ids
    .slice(0, 5)
    .map((id) => ({ id, text: model.tokenizer.decode([id], { skipSpecial: false }), logit: logits[id] ?? 0 }));
}

function budgetOf(
  { counts }: Prompt,
  { maxTokens }: PlannedRequest,
  { context }: PlanningModel,
): InspectReport['budget'] {
  return { context, prompt: counts.total, maxTokens, fits: counts.total + maxTokens <= context };
}

function report(
  inspected: Inspected,
  model: PlanningModel,
  options: InspectOptions,
  watch: Stopwatch,
  dump: InspectReport['dump'],
): InspectReport {
  const { planned, prompt, media, logits } = inspected;
  const plan = media?.plan ?? planned.plan;
  const video = plan.video;
  return {
    stage: options.stage,
    model: model.package.name,
    profile: plan.profile,
    probe: plan.probe,
    frames: video && { count: video.frameIndices.length, indices: video.frameIndices, sampleFps: video.sampleFps },
    sizes: video && { stageA: video.stageA, final: video.final },
    grid: video?.gridThw,
    secondPerGrid: video?.kind === 'video' ? video.secondPerGrid : undefined,
    tokens: prompt.counts,
    tokensExact: media !== undefined || prompt.counts.audio === 0,
    budget: budgetOf(prompt, planned, model),
    runLengths: prompt.runLengths,
    ropeDelta: prompt.ropeDelta,
    warnings: media?.warnings ?? [],
    topTokens: topTokens(logits, model),
    dump,
    timings: watch.stages(),
  };
}
