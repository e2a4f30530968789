// A decoder without a model: logits are a hash of everything a slot has seen, and every misuse of
// the contract is an error.
import type { DecodeRow, Decoder, PrefillChunk, RunSignal, Scores } from '../../../src/model/execution/thinker.ts';
import { shortlistOf } from '../../fixtures/shortlist-of.ts';

export type Run = 'prefill' | 'decode' | 'copy' | 'logits' | 'free';

export interface FakeDecoderOptions {
  readonly slots?: number;
  readonly prefixSlots?: number;
  readonly capacity?: number;
  /** tokens of a block of memory; a whole slot when absent */
  readonly blockTokens?: number;
  /** blocks that all slots share; enough for all when absent */
  readonly blocks?: number;
  /** asked before memory is given; true makes it fail */
  readonly lacksMemory?: (slot: number) => boolean;
  readonly vocabSize?: number;
  /** tokens of the shortlists that it gives; all logits when absent */
  readonly shortlist?: number;
  /** asked before every run; true makes it fail */
  readonly fails?: (run: Run, slots: readonly number[]) => boolean;
  /** awaited in every run; a microtask when absent */
  readonly pause?: () => Promise<void>;
}

interface SlotState {
  hash: number;
  length: number;
  /** hash before each token of the prompt, and after the last */
  prefixHashes: number[];
  nextPosition: number | undefined;
}

function mix(hash: number, value: number): number {
  let mixed = Math.imul(hash ^ value, 0x9e3779b1);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x85ebca77);
  return mixed ^ (mixed >>> 13);
}

export class FakeDecoder implements Decoder {
  readonly slots: number;
  readonly prefixSlots: number;
  readonly capacity: number;
  readonly blockTokens: number;
  readonly blocks: number;
  readonly vocabSize: number;
  readonly hiddenSize = 2;
  /** what callers did wrong; the engine may swallow the errors, so tests look here */
  readonly violations: string[] = [];
  readonly chunks: PrefillChunk[] = [];
  readonly decoded: DecodeRow[][] = [];
  readonly copies: { readonly from: number; readonly to: number; readonly tokens: number }[] = [];
  readonly order: Run[] = [];
  readonly #options: FakeDecoderOptions;
  readonly #states: (SlotState | undefined)[];
  /** blocks of each slot */
  readonly #held: number[];
  readonly #logits: Float32Array;
  #running = false;

  constructor(options: FakeDecoderOptions = {}) {
    this.#options = options;
    this.slots = options.slots ?? 4;
    this.prefixSlots = options.prefixSlots ?? 0;
    this.capacity = options.capacity ?? 256;
    this.vocabSize = options.vocabSize ?? 37;
    this.blockTokens = options.blockTokens ?? this.capacity + 1;
    this.blocks = options.blocks ?? this.slots + this.prefixSlots;
    this.#held = new Array<number>(this.slots + this.prefixSlots).fill(0);
    this.#states = new Array<SlotState | undefined>(this.slots + this.prefixSlots).fill(undefined);
    this.#logits = new Float32Array(this.slots * this.vocabSize);
  }

  /** tokens in each slot that runs */
  get lengths(): number[] {
    return this.#states.slice(0, this.slots).map((state) => state?.length ?? 0);
  }

  /** blocks that all slots hold */
  get heldBlocks(): number {
    return this.#held.reduce((sum, blocks) => sum + blocks, 0);
  }

  async prefill(chunk: PrefillChunk, options: RunSignal = {}): Promise<Scores | undefined> {
    return this.#alone('prefill', [chunk.slot], options, () => {
      this.chunks.push(chunk);
      const state = this.#states[chunk.slot] ?? { hash: 1, length: 0, prefixHashes: [1], nextPosition: undefined };
      this.#states[chunk.slot] = state;
      const count = chunk.ids.length;
      this.#check(chunk.slot < this.slots, `prefill of the prefix slot ${chunk.slot}`);
      this.#check(chunk.start === state.length, `chunk starts at ${chunk.start}, the slot holds ${state.length}`);
      this.#check(
        count > 0 && state.length + count <= this.capacity,
        `chunk of ${count} does not fit after ${state.length}`,
      );
      this.#check(chunk.positions.length === 3 * count, `${chunk.positions.length} positions for ${count} ids`);
      this.#check(
        chunk.mediaEmbeds.length === chunk.mediaRows.length * this.hiddenSize,
        'embeddings do not match media rows',
      );
      this.#check(state.nextPosition === undefined, 'prefill of a slot that was already decoded');
      let media = 0;
      chunk.ids.forEach((id, row) => {
        const axes = [0, 1, 2].map((axis) => chunk.positions[axis * count + row] ?? -1);
        for (const value of [id, ...axes]) state.hash = mix(state.hash, value);
        if (chunk.mediaRows[media] === row) {
          for (const value of chunk.mediaEmbeds.subarray(media * 2, media * 2 + 2))
            state.hash = mix(state.hash, Math.round(value * 1000));
          media++;
        }
        state.prefixHashes.push(state.hash);
      });
      this.#check(media === chunk.mediaRows.length, 'media rows outside the chunk or not ascending');
      state.length += count;
      this.#checkMemory(chunk.slot);
      if (!chunk.wantLogits) return undefined;
      this.#fill(0, state.hash);
      return this.#scores(0, chunk.temperature);
    });
  }

  async decode(rows: readonly DecodeRow[], options: RunSignal = {}): Promise<readonly Scores[]> {
    const slots = rows.map((row) => row.slot);
    return this.#alone('decode', slots, options, () => {
      this.decoded.push([...rows]);
      this.#check(rows.length > 0 && new Set(slots).size === rows.length, `slots ${slots.join()} in one decode`);
      rows.forEach((row, index) => {
        const state = row.slot < this.slots ? this.#states[row.slot] : undefined;
        if (state === undefined) throw this.#violation(`decode of the empty slot ${row.slot}`);
        this.#check(state.length < this.capacity, `decode of the full slot ${row.slot}`);
        this.#check(
          state.nextPosition === undefined || state.nextPosition === row.position,
          `position ${row.position}, expected ${state.nextPosition ?? -1}`,
        );
        state.nextPosition = row.position + 1;
        state.hash = mix(mix(state.hash, row.token), row.position);
        state.length++;
        this.#checkMemory(row.slot);
        this.#fill(index, state.hash);
      });
      return rows.map(({ temperature }, row) => this.#scores(row, temperature));
    });
  }

  async logits(row: number): Promise<Float32Array> {
    return this.#alone('logits', [row], {}, () => this.#row(row));
  }

  async copyPrefix(from: number, to: number, tokens: number): Promise<void> {
    await this.#alone('copy', [from, to], {}, () => {
      const hash = this.#states[from]?.prefixHashes[tokens];
      if (hash === undefined || tokens < 1)
        throw this.#violation(`copy of ${tokens} tokens from slot ${from}, which holds fewer`);
      this.#check(from !== to && to < this.slots + this.prefixSlots, `copy from slot ${from} to slot ${to}`);
      this.#check(to >= this.slots || this.#states[to] === undefined, `copy to slot ${to}, which is in use`);
      this.copies.push({ from, to, tokens });
      const prefixHashes = this.#states[from]?.prefixHashes.slice(0, tokens + 1) ?? [];
      this.#states[to] = { hash, length: tokens, prefixHashes, nextPosition: undefined };
      this.#checkMemory(to);
    });
  }

  async allocate(slot: number, tokens: number): Promise<void> {
    await Promise.resolve();
    this.#check(!this.#running, `slot ${slot} allocated during a run`);
    this.#check(this.#states[slot] === undefined && this.#held[slot] === 0, `slot ${slot} allocated in use`);
    if (this.#options.lacksMemory?.(slot) === true) throw new Error('injected lack of memory');
    this.#held[slot] = Math.ceil(tokens / this.blockTokens);
    this.#check(this.heldBlocks <= this.blocks, `${this.heldBlocks} blocks of ${this.blocks} in use`);
  }

  async free(slot: number): Promise<void> {
    await Promise.resolve();
    this.#check(!this.#running, `slot ${slot} freed during a run`);
    this.#states[slot] = undefined;
    this.#held[slot] = 0;
    if (this.#options.fails?.('free', [slot]) === true) throw new Error('injected free failure');
  }

  #checkMemory(slot: number): void {
    const tokens = this.blockTokens * (this.#held[slot] ?? 0);
    const length = this.#states[slot]?.length ?? 0;
    this.#check(length <= tokens, `${length} tokens in slot ${slot}, which has memory for ${tokens}`);
  }

  async #alone<Result>(run: Run, slots: readonly number[], options: RunSignal, work: () => Result): Promise<Result> {
    this.#check(!this.#running, `${run} while another run is in flight`);
    this.#running = true;
    this.order.push(run);
    if (run !== 'logits') this.#logits.fill(NaN); // logits kept beyond the next run would poison their reader
    try {
      await this.#options.pause?.();
      if (options.signal?.aborted === true) throw new DOMException('terminated', 'AbortError');
      if (this.#options.fails?.(run, slots) === true) throw new Error(`injected ${run} failure`);
      return work();
    } finally {
      this.#running = false;
    }
  }

  #fill(row: number, hash: number): void {
    for (let id = 0; id < this.vocabSize; id++)
      this.#logits[row * this.vocabSize + id] = (mix(hash, id) >>> 0) / 2 ** 29 - 4;
  }

  #row(row: number): Float32Array {
    return this.#logits.subarray(row * this.vocabSize, (row + 1) * this.vocabSize);
  }

  #scores(row: number, temperature: number | undefined): Scores {
    const { shortlist } = this.#options;
    const logits = this.#row(row);
    return shortlist === undefined ? { kind: 'full', logits } : shortlistOf(logits, shortlist, temperature);
  }

  #violation(message: string): Error {
    this.violations.push(message);
    return new Error(message);
  }

  #check(holds: boolean, message: string): void {
    if (!holds) throw this.#violation(message);
  }
}
