// The decoder over its session and KV cache. One slab per layer for keys and one for values, [slots, kvHeads, rows, headDim]; a
// run sees a contiguous range of slots and updates them in place; prefix slots come last, where no run reaches. It knows lengths
// of slots, not whose they are.
import type { ModelConfig, TextConfig } from '../checkpoint/config-types.ts';
import { prefixPieces, runPlan, type CacheSlabs, type Media, type RunPlan, type RunShape } from './decode-plan.ts';
import { MOST_TOKENS_PER_RUN } from '../graphs/decoder.ts';
import type { DType, Runtime, Session, Slab } from '../runtime/runtime.ts';
import type { Decoder, DecodeRow, PrefillChunk, RunSignal } from './thinker.ts';
import type { Device } from '../../settings/engine-settings.ts';

/** Plans remembered. One per shape of a decode step; a service settles on a few. */
const PLANS_KEPT = 64;

export interface DecoderOptions {
  readonly runtime: Runtime;
  /** of the graph that buildDecoderGraph() makes; stays the caller's to release */
  readonly session: Session;
  readonly device: Device;
  /** type of the cache: the graph's activation type */
  readonly dtype: DType;
  readonly slots: number;
  /** slots beside them that only keep copied tokens; default 0 */
  readonly prefixSlots?: number | undefined;
  /** tokens one slot can hold */
  readonly capacity: number;
}

/** Rows of a slot in its slabs: one more than its tokens, where a full slot that sits out a step is written. */
function slotRows(capacity: number): number {
  return capacity + 1;
}

export class SlotDecoder implements Decoder {
  readonly slots: number;
  readonly prefixSlots: number;
  readonly capacity: number;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly #text: TextConfig;
  readonly #runtime: Runtime;
  readonly #session: Session;
  readonly #cache: CacheSlabs;
  readonly #lengths: Int32Array;
  readonly #plans = new Map<string, RunPlan>();
  #logits = new Float32Array(0);
  #running = false;

  private constructor({ text }: ModelConfig, options: DecoderOptions, cache: CacheSlabs) {
    this.slots = options.slots;
    this.prefixSlots = options.prefixSlots ?? 0;
    this.capacity = options.capacity;
    this.vocabSize = text.vocabSize;
    this.hiddenSize = text.hiddenSize;
    this.#text = text;
    this.#runtime = options.runtime;
    this.#session = options.session;
    this.#cache = cache;
    this.#lengths = new Int32Array(this.slots + this.prefixSlots);
  }

  /** Allocates the cache. @throws AvocadoError `engine_error`, `device_unavailable` when the device has not enough memory */
  static async create(config: ModelConfig, options: DecoderOptions): Promise<SlotDecoder> {
    const { kvHeads, headDim, layers } = config.text;
    const elements = (options.slots + (options.prefixSlots ?? 0)) * kvHeads * slotRows(options.capacity) * headDim;
    const slabs: Slab[] = [];
    try {
      while (slabs.length < 2 * layers)
        slabs.push(await options.runtime.allocate(options.dtype, elements, options.device));
    } catch (error) {
      for (const slab of slabs) slab.release();
      throw error;
    }
    const cache = slabs.slice(0, layers).flatMap((keys, layer) => {
      const values = slabs[layers + layer];
      return values === undefined ? [] : [[keys, values] as const];
    });
    return new SlotDecoder(config, options, cache);
  }

  /** See Decoder. At most 32,768 tokens a chunk; its positions may be any the rope tables hold. */
  async prefill(chunk: PrefillChunk, options: RunSignal = {}): Promise<Float32Array | undefined> {
    const { slot, start, ids, positions, mediaRows, mediaEmbeds, wantLogits } = chunk;
    const tokens = ids.length;
    const held = slot < this.slots ? this.#lengths[slot] : undefined;
    if (tokens === 0 || tokens > MOST_TOKENS_PER_RUN || start !== held || start + tokens > this.capacity) {
      throw new Error(
        `Slot ${slot} of ${this.capacity} tokens holds ${held ?? 'no'} tokens: ${tokens} cannot go to ${start}. This is a bug.`,
      );
    }
    if (positions.length !== 3 * tokens || mediaEmbeds.length !== mediaRows.length * this.hiddenSize) {
      throw new Error(
        `Chunk of ${tokens} tokens has ${positions.length} positions and ${mediaEmbeds.length} media values. This is a bug.`,
      );
    }
    const index = new BigInt64Array(2 * mediaRows.length);
    mediaRows.forEach((row, media) => (index[2 * media + 1] = BigInt(row)));
    const plan = this.#plan(
      { first: slot, slots: 1, tokens, wanted: wantLogits ? 1 : 0 },
      { index, embeds: mediaEmbeds },
    );
    ids.forEach((id, token) => (plan.ids[2 * token] = id));
    positions.forEach((position, at) => (plan.positions[2 * at] = position));
    if (wantLogits) plan.logitIndex[0] = tokens - 1;
    plan.lastIndex[0] = start + tokens - 1;
    plan.totalLength[0] = start + tokens;
    await this.#run(plan, options);
    this.#lengths[slot] = start + tokens;
    return wantLogits ? plan.logits : undefined;
  }

  async decode(rows: readonly DecodeRow[], options: RunSignal = {}): Promise<Float32Array> {
    let first = this.slots;
    let last = -1;
    for (const { slot } of rows) {
      const length = slot < this.slots ? this.#lengths[slot] : undefined;
      if (length === undefined || length >= this.capacity)
        throw new Error(`Slot ${slot} has no room for a token. This is a bug.`);
      first = Math.min(first, slot);
      last = Math.max(last, slot);
    }
    if (last < 0) throw new Error('A decode step needs at least one row. This is a bug.');
    const slots = last - first + 1;
    const plan = this.#decodePlan({ first, slots, tokens: 1, wanted: rows.length });
    this.#park(plan, first, slots);
    for (const [index, { slot, token, position }] of rows.entries()) {
      const row = slot - first;
      plan.ids[2 * row] = token;
      for (let axis = 0; axis < 3; axis += 1) plan.positions[2 * (axis * slots + row)] = position;
      plan.logitIndex[2 * index] = row;
    }
    await this.#run(plan, options);
    for (const { slot } of rows) this.#lengths[slot] = (this.#lengths[slot] ?? 0) + 1;
    return plan.logits;
  }

  async copyPrefix(from: number, to: number, tokens: number): Promise<void> {
    const held = this.#lengths[from] ?? 0;
    if (from === to || this.#lengths[to] === undefined || !(tokens >= 1 && tokens <= held)) {
      throw new Error(`Slot ${from} holds ${held} tokens: ${tokens} cannot be copied to slot ${to}. This is a bug.`);
    }
    const pieces = prefixPieces(this.#text, slotRows(this.capacity), from, to, tokens);
    await this.#alone(async () => {
      this.#lengths[to] = 0;
      for (const slab of this.#cache.flat()) await this.#runtime.copyWithin(slab, pieces);
      this.#lengths[to] = tokens;
    });
  }

  reset(slot: number): void {
    this.#lengths[slot] = 0;
  }

  /** Frees the cache. The session is not the decoder's. */
  release(): void {
    for (const slab of this.#cache.flat()) slab.release();
    this.#plans.clear();
  }

  /**
   * Every slot of the range takes one token; those that are not decoding get a worthless one, written where their next
   * real token will overwrite it.
   */
  #park(plan: RunPlan, first: number, slots: number): void {
    plan.ids.fill(0);
    plan.positions.fill(0);
    let total = 0;
    for (let row = 0; row < slots; row += 1) {
      const length = this.#lengths[first + row] ?? 0;
      plan.lastIndex[row] = length;
      total = Math.max(total, length + 1);
    }
    plan.totalLength[0] = total;
  }

  async #run(plan: RunPlan, options: RunSignal): Promise<void> {
    await this.#alone(() => this.#session.run(plan.feeds, plan.fetches, options));
  }

  async #alone(work: () => Promise<void>): Promise<void> {
    if (this.#running) throw new Error('The decoder runs one call at a time. This is a bug.');
    this.#running = true;
    try {
      await work();
    } finally {
      this.#running = false;
    }
  }

  #decodePlan(shape: RunShape): RunPlan {
    const key = `${shape.first},${shape.slots},${shape.wanted}`;
    const known = this.#plans.get(key);
    if (known !== undefined) return known;
    if (this.#plans.size >= PLANS_KEPT) this.#plans.clear();
    const plan = this.#plan(shape, { index: new BigInt64Array(0), embeds: new Float32Array(0) });
    this.#plans.set(key, plan);
    return plan;
  }

  #plan(shape: RunShape, media: Media): RunPlan {
    return runPlan(this.#text, this.#cache, slotRows(this.capacity), shape, media, this.#logitRows(shape.wanted));
  }

  /** [rows, vocab] of the one buffer that every call shares. */
  #logitRows(rows: number): Float32Array<ArrayBuffer> {
    if (this.#logits.length < rows * this.vocabSize) {
      this.#logits = new Float32Array(rows * this.vocabSize);
      // Plans point into the buffer that is being replaced.
      this.#plans.clear();
    }
    return this.#logits.subarray(0, rows * this.vocabSize);
  }
}
