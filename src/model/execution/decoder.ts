// The decoder: its session, and runs over a contiguous range of slots of its KV cache, which they update in place.
// Prefix slots come last and are never in a run. The decoder does not know which sequence uses a slot.
import { FLOAT_BYTES, newFloats, type FloatArray, type FloatDType } from '../../base/floats.ts';
import type { Device } from '../../settings/engine-settings.ts';
import type { ModelConfig, TextConfig } from '../checkpoint/config-types.ts';
import { MOST_TOKENS_PER_RUN } from '../graphs/decoder-attention.ts';
import { hostTensor, type RunOptions, type Runtime, type Session, type Tensor } from '../runtime/runtime.ts';
import { KvCache, type CacheViews } from './kv-cache.ts';
import { scoreMemory, type ScoreMemory, type ScoreOutputs } from './score-outputs.ts';
import type { Decoder, DecodeRow, PrefillChunk, RunSignal, Scores } from './thinker.ts';

/** Cached plans, one per shape of a decode step. A server uses only a few shapes. */
const PLANS_KEPT = 64;

interface DecoderOptions {
  readonly runtime: Runtime;
  /** of the graph from buildDecoderGraph(); the caller releases it */
  readonly session: Session;
  readonly device: Device;
  /** type of the cache and of media embeddings: the graph's activation type */
  readonly dtype: FloatDType;
  readonly slots: number;
  /** additional slots that only keep copied tokens; default 0 */
  readonly prefixSlots?: number | undefined;
  /** tokens one slot can hold */
  readonly capacity: number;
  /** memory of the KV cache; undefined: enough to fill all slots */
  readonly cacheBytes?: number | undefined;
}

/** `slots` slots from `first` on, `tokens` tokens for each, `wanted` rows of logits. */
interface RunShape {
  readonly first: number;
  readonly slots: number;
  readonly tokens: number;
  readonly wanted: number;
}

/** Embeddings that replace those of placeholder tokens. */
interface Media {
  /** [rows, 2] batch row and token row */
  readonly index: BigInt64Array<ArrayBuffer>;
  /** [rows, hidden] in `dtype` */
  readonly embeds: FloatArray;
  readonly dtype: FloatDType;
}

/**
 * The tensors of one shape of run, allocated once and filled again for every step, and views to fill them through. An
 * int64 tensor is written through its low words: all values are in 0 … 2^31 - 1.
 */
interface RunPlan {
  readonly feeds: Readonly<Record<string, Tensor>>;
  readonly fetches: Readonly<Record<string, Tensor>>;
  /** int64 [slots, tokens] */
  readonly ids: Int32Array;
  /** int64 [3, slots, tokens] */
  readonly positions: Int32Array;
  /** int64 [wanted] */
  readonly logitIndex: Int32Array;
  /** int32 [slots] */
  readonly lastIndex: Int32Array;
  /** int32 [] */
  readonly totalLength: Int32Array;
  readonly outputs: ScoreOutputs;
}

function lowWords(array: BigInt64Array<ArrayBuffer>): Int32Array {
  return new Int32Array(array.buffer);
}

function runPlan(
  text: TextConfig,
  { past, present }: CacheViews,
  shape: RunShape,
  media: Media,
  outputs: ScoreOutputs,
): RunPlan {
  const { slots, tokens, wanted } = shape;
  const ids = new BigInt64Array(slots * tokens);
  const positions = new BigInt64Array(3 * slots * tokens);
  const logitIndex = new BigInt64Array(wanted);
  const lastIndex = new Int32Array(slots);
  const totalLength = new Int32Array(1);
  const mediaRows = media.index.length / 2;
  const feeds = {
    input_ids: hostTensor('int64', [slots, tokens], ids),
    media_embeds: hostTensor(media.dtype, [mediaRows, text.hiddenSize], media.embeds),
    media_index: hostTensor('int64', [mediaRows, 2], media.index),
    position_ids: hostTensor('int64', [3, slots, tokens], positions),
    seqlens_k: hostTensor('int32', [slots], lastIndex),
    total_len: hostTensor('int32', [], totalLength),
    logit_index: hostTensor('int64', [wanted], logitIndex),
    ...outputs.feeds,
    ...past,
  };
  const fetches = { ...outputs.fetches, ...present };
  const words = { ids: lowWords(ids), positions: lowWords(positions), logitIndex: lowWords(logitIndex) };
  return { feeds, fetches, ...words, lastIndex, totalLength, outputs };
}

/**
 * A step that can be recorded: from slot 0 on, with few different sizes, and the logits of every slot. Slots without a
 * sequence cost little: they attend to one token.
 */
function recordedStep(last: number, slots: number): Omit<RunShape, 'tokens'> {
  const rows = Math.min(slots, 2 ** Math.ceil(Math.log2(last + 1)));
  return { first: 0, slots: rows, wanted: rows };
}

/** Sizes of all steps that can be recorded. */
function recordedSizes(slots: number): readonly number[] {
  return [...new Set(Array.from({ length: slots }, (_, last) => recordedStep(last, slots).slots))];
}

export class SlotDecoder implements Decoder {
  readonly slots: number;
  readonly prefixSlots: number;
  readonly capacity: number;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly #text: TextConfig;
  readonly #dtype: FloatDType;
  readonly #session: Session;
  readonly #cache: KvCache;
  readonly #plans = new Map<string, RunPlan>();
  readonly #scores: ScoreMemory;
  /** where the rows of the last run have their logits */
  #logitRows: readonly number[] = [];
  #running = false;
  readonly #device: Device;
  readonly #recorded = new Set<number>();

  private constructor({ text }: ModelConfig, options: DecoderOptions, cache: KvCache, scores: ScoreMemory) {
    this.slots = options.slots;
    this.prefixSlots = options.prefixSlots ?? 0;
    this.capacity = options.capacity;
    this.vocabSize = text.vocabSize;
    this.hiddenSize = text.hiddenSize;
    this.#text = text;
    this.#dtype = options.dtype;
    this.#session = options.session;
    this.#device = options.device;
    this.#cache = cache;
    this.#scores = scores;
  }

  /**
   * Allocates the cache.
   * @throws AvocadoError `engine_error`, `device_unavailable` when the device does not have enough memory,
   *   `bad_request` for a cache that cannot hold one full slot
   */
  static async create(config: ModelConfig, options: DecoderOptions): Promise<SlotDecoder> {
    const { runtime, session, device, dtype, slots: rows, prefixSlots = 0, capacity, cacheBytes: bytes } = options;
    const { text } = config;
    const scores = await scoreMemory({ runtime, session, device, rows, vocabSize: text.vocabSize });
    try {
      const cache = { runtime, device, dtype, text, slots: rows + prefixSlots, capacity, bytes };
      return new SlotDecoder(config, options, await KvCache.create(cache), scores);
    } catch (error) {
      scores.release();
      throw error;
    }
  }

  get blockTokens(): number {
    return this.#cache.blockTokens;
  }

  get blocks(): number {
    return this.#cache.blocks;
  }

  /** See Decoder. At most MOST_TOKENS_PER_RUN tokens a chunk. */
  async prefill(chunk: PrefillChunk, options: RunSignal = {}): Promise<Scores | undefined> {
    const { slot, start, ids, positions, mediaRows, mediaEmbeds, wantLogits } = chunk;
    const tokens = ids.length;
    const held = slot < this.slots ? this.#cache.length(slot) : undefined;
    if (tokens === 0 || tokens > MOST_TOKENS_PER_RUN || start !== held || !this.#cache.hasRoom(slot, tokens)) {
      const problem = `${tokens} tokens cannot go to ${start}`;
      throw new Error(
        `Slot ${slot} of ${this.capacity} tokens holds ${held ?? 'no'} tokens: ${problem}. This is a bug.`,
      );
    }
    const dtype = this.#dtype;
    const mediaBytes = mediaRows.length * this.hiddenSize * FLOAT_BYTES[dtype];
    if (positions.length !== 3 * tokens || mediaEmbeds.byteLength !== mediaBytes) {
      const found = `${positions.length} positions and ${mediaEmbeds.byteLength} bytes of ${dtype} media values`;
      throw new Error(`Chunk of ${tokens} tokens has ${found}. This is a bug.`);
    }
    const index = new BigInt64Array(2 * mediaRows.length);
    mediaRows.forEach((row, media) => (index[2 * media + 1] = BigInt(row)));
    const wanted = wantLogits ? 1 : this.#scores.leastRows;
    const plan = this.#plan({ first: slot, slots: 1, tokens, wanted }, { index, embeds: mediaEmbeds, dtype });
    ids.forEach((id, token) => (plan.ids[2 * token] = id));
    positions.forEach((position, at) => (plan.positions[2 * at] = position));
    if (wanted > 0) plan.logitIndex[0] = tokens - 1;
    plan.outputs.inverseTemperatures.fill(1 / (chunk.temperature ?? 1));
    plan.lastIndex[0] = start + tokens - 1;
    plan.totalLength[0] = start + tokens;
    await this.#run(plan, options);
    this.#cache.extend(slot, tokens);
    this.#logitRows = [];
    return wantLogits ? plan.outputs.scores()[0] : undefined;
  }

  async decode(rows: readonly DecodeRow[], options: RunSignal = {}): Promise<readonly Scores[]> {
    let first = this.slots;
    let last = -1;
    for (const { slot } of rows) {
      if (slot >= this.slots || !this.#cache.hasRoom(slot, 1))
        throw new Error(`Slot ${slot} has no room for a token. This is a bug.`);
      first = Math.min(first, slot);
      last = Math.max(last, slot);
    }
    if (last < 0) throw new Error('A decode step needs at least one row. This is a bug.');
    const recorded = this.#session.recordings === true;
    const shape = recorded ? recordedStep(last, this.slots) : { first, slots: last - first + 1, wanted: rows.length };
    const plan = this.#decodePlan({ ...shape, tokens: 1 });
    this.#park(plan, shape.first, shape.slots);
    // Attention's kernels are chosen by it, once for all steps that are recorded: the most that it can be.
    if (recorded) plan.totalLength[0] = this.#cache.rows;
    const logitRows = rows.map(({ slot }, index) => (recorded ? slot : index));
    for (const [index, { slot, token, position, temperature = 1 }] of rows.entries()) {
      const row = slot - shape.first;
      plan.ids[2 * row] = token;
      for (let axis = 0; axis < 3; axis += 1) plan.positions[2 * (axis * shape.slots + row)] = position;
      const logitRow = logitRows[index] ?? index;
      plan.logitIndex[2 * logitRow] = row;
      plan.outputs.inverseTemperatures[logitRow] = 1 / temperature;
    }
    await this.#run(plan, { ...options, recording: recorded ? shape.slots : undefined });
    for (const { slot } of rows) this.#cache.extend(slot, 1);
    this.#logitRows = logitRows;
    const scores = plan.outputs.scores();
    return logitRows.flatMap((row) => scores[row] ?? []);
  }

  /**
   * Records a step of each size before any request waits for one: choosing kernels and recording takes up to 0.7 s.
   * Does nothing on a session that records nothing. All slots must be empty.
   * @throws AvocadoError `engine_error` when the device cannot record a step, `device_unavailable`
   */
  async recordSteps(onProgress?: (done: number, total: number) => void): Promise<void> {
    if (this.#session.recordings !== true) return;
    const sizes = recordedSizes(this.slots);
    for (const [done, size] of sizes.entries()) {
      onProgress?.(done, sizes.length);
      await this.allocate(size - 1, 1);
      await this.decode([{ slot: size - 1, token: 0, position: 0 }]);
      await this.free(size - 1);
      this.#recorded.add(size);
    }
  }

  get recordedSteps(): Readonly<Record<string, boolean>> | undefined {
    if (this.#device.type !== 'cuda') return undefined;
    return Object.fromEntries(recordedSizes(this.slots).map((size) => [size, this.#recorded.has(size)]));
  }

  async logits(row: number): Promise<Float32Array> {
    return this.#alone(() => this.#scores.logits(this.#logitRows[row] ?? row));
  }

  async allocate(slot: number, tokens: number): Promise<void> {
    await this.#alone(() => this.#cache.allocate(slot, tokens));
  }

  async copyPrefix(from: number, to: number, tokens: number): Promise<void> {
    await this.#alone(() => this.#cache.copy(from, to, tokens));
  }

  async free(slot: number): Promise<void> {
    await this.#alone(() => this.#cache.free(slot));
  }

  /** Frees the cache. The caller releases the session. */
  release(): void {
    for (const held of [this.#cache, this.#scores]) held.release();
    this.#plans.clear();
  }

  /**
   * Every slot in the range of a run takes one token. Slots that are not decoding get a dummy token, written where
   * their next real token overwrites it.
   */
  #park(plan: RunPlan, first: number, slots: number): void {
    plan.ids.fill(0);
    plan.positions.fill(0);
    let total = 0;
    for (let row = 0; row < slots; row += 1) {
      const length = this.#cache.length(first + row) ?? 0;
      plan.lastIndex[row] = length;
      total = Math.max(total, length + 1);
    }
    plan.totalLength[0] = total;
  }

  async #run(plan: RunPlan, options: RunOptions): Promise<void> {
    await this.#alone(() => this.#session.run(plan.feeds, plan.fetches, options));
  }

  async #alone<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#running) throw new Error('The decoder runs one call at a time. This is a bug.');
    this.#running = true;
    try {
      return await work();
    } finally {
      this.#running = false;
    }
  }

  #decodePlan(shape: RunShape): RunPlan {
    const key = `${shape.first},${shape.slots},${shape.wanted}`;
    const known = this.#plans.get(key);
    if (known !== undefined) return known;
    if (this.#plans.size >= PLANS_KEPT) this.#plans.clear();
    const dtype = this.#dtype;
    const plan = this.#plan(shape, { index: new BigInt64Array(0), embeds: newFloats(dtype, 0), dtype });
    this.#plans.set(key, plan);
    return plan;
  }

  #plan(shape: RunShape, media: Media): RunPlan {
    const outputs = this.#scores.outputs(shape.wanted);
    return runPlan(this.#text, this.#cache.views(shape.first, shape.slots), shape, media, outputs);
  }
}
