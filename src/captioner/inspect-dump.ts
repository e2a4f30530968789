import type { CutPatches, MediaEmbeddings, MediaOrder } from '../encoder/encode-media.ts';
import type { FrameStack, PreparedMedia } from '../features/types.ts';
import type { DumpTensor } from '../model/checkpoint/safetensors.ts';
import type { PlanningModel } from './plan-request.ts';
import type { Prompt } from '../prompt/types.ts';

export interface DumpInput {
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
    yield await cut(frames, from, Math.min(steps, from + STEPS_PER_PIECE));
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
function embedTensor(name: string, { embeds }: MediaEmbeddings, order: Int32Array, hidden: number): DumpTensor[] {
  if (order.length === 0) return [];
  const rows = new Float32Array(order.length * hidden);
  order.forEach((row, index) => {
    rows.set(embeds.subarray(row * hidden, (row + 1) * hidden), index * hidden);
  });
  return [{ name, dtype: 'F32', shape: [order.length, hidden], data: rows }];
}

/** Every tensor known at the stage reached, under the names that golden/README.md uses. */
export function dumpTensors(input: DumpInput): DumpTensor[] {
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
