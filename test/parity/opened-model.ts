// A checkpoint opened as the product opens it, and the steps that tests take with it.
import { openCheckpoint } from '../../src/model/checkpoint/checkpoint.ts';
import type { ModelConfig } from '../../src/model/checkpoint/config-types.ts';
import { readModelConfig } from '../../src/model/checkpoint/config.ts';
import { SlotDecoder } from '../../src/model/execution/decoder.ts';
import { buildAudioGraph } from '../../src/model/graphs/audio.ts';
import { buildDecoderGraph, type DecoderGraphOptions } from '../../src/model/graphs/decoder.ts';
import { buildVisionGraph } from '../../src/model/graphs/vision.ts';
import { openRuntime } from '../../src/model/runtime/open-runtime.ts';
import { ThinkerTowers } from '../../src/model/execution/towers.ts';
import type { DecodeRow, Decoder } from '../../src/model/execution/thinker.ts';
import type { ModelCase } from './model-cases.ts';

export interface OpenedModel {
  readonly config: ModelConfig;
  readonly towers: ThinkerTowers;
  readonly decoder: SlotDecoder;
  close(): Promise<void>;
}

export async function openModelUnderTest(
  directory: string,
  runtimeName: 'native' | 'node' | undefined,
  slots: number,
  capacity: number,
  prefixSlots = 0,
  graph: DecoderGraphOptions = {},
): Promise<OpenedModel> {
  const device = { type: 'cpu' } as const;
  const runtime = await openRuntime({ runtime: runtimeName, device });
  const config = await readModelConfig(directory);
  const weights = await openCheckpoint(directory);
  const load = (build: typeof buildVisionGraph) =>
    runtime.createSession(build(config, weights, 'fp32').bytes, {
      device,
      threads: 1,
      spinning: false,
      disablePrepacking: false,
    });
  const [vision, audio, session] = [
    await load(buildVisionGraph),
    await load(buildAudioGraph),
    await load((...given) => buildDecoderGraph(...given, graph)),
  ];
  const decoder = await SlotDecoder.create(config, {
    runtime,
    session,
    device,
    dtype: 'float32',
    slots,
    prefixSlots,
    capacity,
  });
  const close = async (): Promise<void> => {
    for (const part of [vision, audio, session]) await part.release();
    decoder.release();
    await runtime.close();
  };
  return {
    config,
    towers: new ThinkerTowers(config, vision, audio, { dtype: 'float32', onCard: false }),
    decoder,
    close,
  };
}

export interface Prompt {
  readonly ids: Int32Array;
  /** [3, ids.length] */
  readonly positions: Int32Array;
  readonly mediaRows: readonly number[];
  readonly mediaEmbeds: readonly Float32Array[];
}

/** Ids and positions of a case with the embeddings that replace its placeholders. */
export function promptOf(
  { tensors }: ModelCase,
  config: ModelConfig,
  vision: Float32Array,
  audio: Float32Array,
): Prompt {
  const { tokens, text } = config;
  const ids = tensors['input_ids']!.data as Int32Array;
  const mediaRows: number[] = [];
  const mediaEmbeds: Float32Array[] = [];
  const used = { vision: 0, audio: 0 };
  ids.forEach((id, row) => {
    const kind = id === tokens.video || id === tokens.image ? 'vision' : id === tokens.audio ? 'audio' : undefined;
    if (kind === undefined) return;
    const at = used[kind];
    mediaRows.push(row);
    mediaEmbeds.push((kind === 'vision' ? vision : audio).subarray(at, at + text.hiddenSize));
    used[kind] = at + text.hiddenSize;
  });
  if (used.vision !== vision.length || used.audio !== audio.length)
    throw new Error('The prompt has another number of placeholders than embeddings.');
  return { ids, positions: tensors['position_ids']!.data as Int32Array, mediaRows, mediaEmbeds };
}

/** Feeds tokens `start … end` of a prompt; the slot must hold `start` tokens. */
export async function feed(
  decoder: SlotDecoder,
  slot: number,
  prompt: Prompt,
  start: number,
  end: number,
  wantLogits = false,
): Promise<Float32Array | undefined> {
  const total = prompt.ids.length;
  const inside = prompt.mediaRows.flatMap((row, index) => (row >= start && row < end ? [index] : []));
  const mediaEmbeds = new Float32Array(inside.length * decoder.hiddenSize);
  inside.forEach((index, at) => {
    mediaEmbeds.set(prompt.mediaEmbeds[index]!, at * decoder.hiddenSize);
  });
  const positions = new Int32Array(3 * (end - start));
  for (let axis = 0; axis < 3; axis += 1)
    positions.set(prompt.positions.subarray(axis * total + start, axis * total + end), axis * (end - start));
  const mediaRows = Int32Array.from(inside, (index) => prompt.mediaRows[index]! - start);
  const ids = prompt.ids.slice(start, end);
  await decoder.prefill({ slot, start, ids, positions, mediaRows, mediaEmbeds, wantLogits });
  return wantLogits ? decoder.logits(0) : undefined;
}

/** One step; copies of all logits, [rows.length, vocab]. */
export async function decodeLogits(decoder: Decoder, rows: readonly DecodeRow[]): Promise<Float32Array> {
  await decoder.decode(rows);
  const logits = new Float32Array(rows.length * decoder.vocabSize);
  for (let row = 0; row < rows.length; row += 1) logits.set(await decoder.logits(row), row * decoder.vocabSize);
  return logits;
}

/** Fills a slot anew with a prompt, in chunks of at most `chunk` tokens; returns a copy of the last logits. */
export async function fill(
  decoder: SlotDecoder,
  slot: number,
  prompt: Prompt,
  chunk = Infinity,
): Promise<Float32Array> {
  await decoder.free(slot);
  const total = prompt.ids.length;
  let logits: Float32Array | undefined;
  for (let start = 0; start < total; start += chunk) {
    const end = Math.min(start + chunk, total);
    logits = await feed(decoder, slot, prompt, start, end, end === total);
  }
  if (logits === undefined) throw new Error('The last chunk gave no logits.');
  return logits.slice();
}

export function best(scores: Float32Array): number {
  return scores.reduce((winner, score, id) => (score > scores[winner]! ? id : winner), 0);
}

export function logProbability(logits: Float32Array, id: number): number {
  const most = Math.max(...logits);
  return logits[id]! - most - Math.log(logits.reduce((sum, value) => sum + Math.exp(value - most), 0));
}
