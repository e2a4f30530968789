// Keys and values of all slots. Each layer has one slab for keys and one for values, [slots, kvHeads, rows, headDim]. A
// slot's address range is contiguous and always has room for `capacity` tokens, which every attention kernel can use.
// Its memory is there from the start, or comes and goes in blocks of a page per head from a pool that is smaller than
// all slots together (vAttention, arXiv 2405.04437).
import { AvocadoError } from '../../base/errors.ts';
import type { Device } from '../../settings/engine-settings.ts';
import type { TextConfig } from '../checkpoint/config-types.ts';
import type { DType } from '../checkpoint/weights.ts';
import { cacheNames } from '../graphs/decoder-attention.ts';
import {
  DTYPE_BYTES,
  type PagePool,
  type Runtime,
  type Slab,
  type SlabPiece,
  type SlabRange,
  type SlabView,
} from '../runtime/runtime.ts';

export interface KvCacheOptions {
  readonly runtime: Runtime;
  readonly device: Device;
  /** the graph's activation type */
  readonly dtype: DType;
  readonly text: Pick<TextConfig, 'kvHeads' | 'headDim' | 'layers'>;
  /** prefix slots included */
  readonly slots: number;
  /** tokens one slot can hold */
  readonly capacity: number;
  /** of all slots together; undefined: each slot has its memory from the start */
  readonly bytes?: number | undefined;
}

/** Inputs and outputs of a run for a contiguous range of slots: the same memory, updated in place. */
export interface CacheViews {
  readonly past: Readonly<Record<string, SlabView>>;
  readonly present: Readonly<Record<string, SlabView>>;
}

/** Blocks of a pool: tokens of one slot in all layers and heads. */
interface Blocks {
  readonly pool: PagePool;
  readonly tokens: number;
  readonly count: number;
}

export class KvCache {
  /** tokens of a slot that get memory together; all of it where slots have their memory from the start */
  readonly blockTokens: number;
  /** blocks that the slots can hold together */
  readonly blocks: number;
  /** rows of a slot in its slabs */
  readonly rows: number;
  readonly #options: KvCacheOptions;
  readonly #pool: PagePool | undefined;
  /** keys and values of each layer */
  readonly #slabs: readonly (readonly [keys: Slab, values: Slab])[];
  /** tokens in each slot */
  readonly #lengths: Int32Array;
  /** tokens that each slot has memory for */
  readonly #allocated: Int32Array;

  private constructor(options: KvCacheOptions, rows: number, slabs: readonly Slab[], blocks: Blocks | undefined) {
    const { slots, text } = options;
    this.#options = options;
    this.rows = rows;
    this.blockTokens = blocks?.tokens ?? rows;
    this.blocks = blocks?.count ?? slots;
    this.#pool = blocks?.pool;
    this.#slabs = slabs.slice(0, text.layers).flatMap((keys, layer) => {
      const values = slabs[text.layers + layer];
      return values === undefined ? [] : [[keys, values] as const];
    });
    this.#lengths = new Int32Array(slots);
    this.#allocated = new Int32Array(slots).fill(blocks === undefined ? rows : 0);
  }

  /**
   * Reserves the cache, with all memory that it will ever use.
   * @throws AvocadoError `engine_error`, `device_unavailable` when the device does not have it, `bad_request` when it
   *   is less than one slot needs
   */
  static async create(options: KvCacheOptions): Promise<KvCache> {
    const { runtime, device, dtype, text, slots, capacity, bytes } = options;
    const blocks = bytes === undefined ? undefined : await openBlocks(options, bytes);
    // One row more than tokens: a full slot inside a run is still written to.
    const rows = blocks === undefined ? capacity + 1 : blocks.tokens * Math.ceil((capacity + 1) / blocks.tokens);
    const elements = slots * text.kvHeads * rows * text.headDim;
    const slabs: Slab[] = [];
    try {
      while (slabs.length < 2 * text.layers) slabs.push(await runtime.allocate(dtype, elements, device, blocks?.pool));
    } catch (error) {
      for (const held of slabs) held.release();
      blocks?.pool.release();
      throw error;
    }
    return new KvCache(options, rows, slabs, blocks);
  }

  /** Tokens in a slot; undefined: there is no such slot. */
  length(slot: number): number | undefined {
    return this.#lengths[slot];
  }

  /** Tokens were written behind those in the slot. */
  extend(slot: number, tokens: number): void {
    this.#lengths[slot] = (this.#lengths[slot] ?? 0) + tokens;
  }

  /** Whether the slot has memory for so many more tokens. */
  hasRoom(slot: number, tokens: number): boolean {
    const length = this.#lengths[slot];
    if (length === undefined) return false;
    return length + tokens <= Math.min(this.#options.capacity, this.#allocated[slot] ?? 0);
  }

  views(first: number, slots: number): CacheViews {
    const { kvHeads, headDim } = this.#options.text;
    const offset = first * kvHeads * this.rows * headDim;
    const view = (slab: Slab): SlabView => ({
      kind: 'slab',
      slab,
      offset,
      dims: [slots, kvHeads, this.rows, headDim],
    });
    const past: Record<string, SlabView> = {};
    const present: Record<string, SlabView> = {};
    this.#slabs.forEach(([keys, values], layer) => {
      const names = cacheNames(layer);
      past[names.pastKey] = present[names.presentKey] = view(keys);
      past[names.pastValue] = present[names.presentValue] = view(values);
    });
    return { past, present };
  }

  /**
   * Memory for the first `tokens` tokens of an empty slot. No run may be in progress.
   * @throws AvocadoError `engine_error`, `device_unavailable`
   */
  async allocate(slot: number, tokens: number): Promise<void> {
    if (this.#lengths[slot] !== 0) throw new Error(`Slot ${slot} is not empty. This is a bug.`);
    if (this.#pool === undefined || (this.#allocated[slot] ?? 0) >= tokens) return;
    await this.#options.runtime.commit(this.#slabs.flat(), this.#ranges(slot, tokens));
    this.#allocated[slot] = this.#wholeBlocks(tokens);
  }

  /**
   * Empties a slot; memory from a pool goes back. No run may be in progress.
   * @throws AvocadoError `engine_error`, `device_unavailable`
   */
  async free(slot: number): Promise<void> {
    this.#lengths[slot] = 0;
    const allocated = this.#allocated[slot] ?? 0;
    if (this.#pool === undefined || allocated === 0) return;
    this.#allocated[slot] = 0;
    await this.#options.runtime.decommit(this.#slabs.flat(), this.#ranges(slot, allocated));
  }

  /** Replaces the content of slot `to` with the first tokens of slot `from`. When it fails, `to` is empty. */
  async copy(from: number, to: number, tokens: number): Promise<void> {
    const held = this.#lengths[from] ?? 0;
    const hasMemory = tokens <= (this.#allocated[to] ?? 0);
    if (from === to || !hasMemory || !(tokens >= 1 && tokens <= held))
      throw new Error(`Slot ${from} holds ${held} tokens: ${tokens} cannot be copied to slot ${to}. This is a bug.`);
    this.#lengths[to] = 0;
    const [source, target] = [this.#ranges(from, tokens), this.#ranges(to, tokens)];
    const elements = tokens * this.#options.text.headDim;
    const pieces = source.map((range, head): SlabPiece => ({
      from: range.from,
      to: target[head]?.from ?? 0,
      elements,
    }));
    await this.#options.runtime.copyWithin(this.#slabs.flat(), pieces);
    this.#lengths[to] = tokens;
  }

  release(): void {
    for (const slab of this.#slabs.flat()) slab.release();
    this.#pool?.release();
  }

  #wholeBlocks(tokens: number): number {
    return this.blockTokens * Math.ceil(tokens / this.blockTokens);
  }

  /** The blocks of the first tokens of a slot: a range of each head. */
  #ranges(slot: number, tokens: number): SlabRange[] {
    const { kvHeads, headDim } = this.#options.text;
    const elements = this.#wholeBlocks(tokens) * headDim;
    return Array.from({ length: kvHeads }, (_, head) => ({
      from: (slot * kvHeads + head) * this.rows * headDim,
      elements,
    }));
  }
}

/** No device has larger pages. */
const LARGEST_PAGE = 2 ** 21;

/** More than all slots can use, when they are full. */
function mostBytes({ dtype, text, slots, capacity }: KvCacheOptions): number {
  const ofHead = (capacity + 1) * text.headDim * DTYPE_BYTES[dtype];
  return 2 * text.layers * text.kvHeads * slots * LARGEST_PAGE * (1 + Math.ceil(ofHead / LARGEST_PAGE));
}

/** Blocks of whole pages and whole tokens. */
async function openBlocks(options: KvCacheOptions, bytes: number): Promise<Blocks> {
  const { runtime, device, dtype, text, capacity } = options;
  const pool = await runtime.pagePool(device, Math.min(bytes, mostBytes(options)));
  const rowBytes = text.headDim * DTYPE_BYTES[dtype];
  const tokens = leastCommonMultiple(pool.pageBytes, rowBytes) / rowBytes;
  const pagesPerBlock = (2 * text.layers * text.kvHeads * tokens * rowBytes) / pool.pageBytes;
  const count = Math.floor(pool.pages / pagesPerBlock);
  const needed = Math.ceil(capacity / tokens);
  if (count >= needed) return { pool, tokens, count };
  pool.release();
  const least = needed * pagesPerBlock * pool.pageBytes;
  const message = `The KV cache needs ${least} bytes for one caption of ${capacity} tokens, and has ${bytes}. Give it more, or use a smaller --context.`;
  throw new AvocadoError('bad_request', message, { param: 'kvCacheBytes' });
}

function leastCommonMultiple(a: number, b: number): number {
  const divisor = (x: number, y: number): number => (y === 0 ? x : divisor(y, x % y));
  return (a / divisor(a, b)) * b;
}
