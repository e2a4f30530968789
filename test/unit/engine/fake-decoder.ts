// A decoder without a model: logits are a hash of everything a slot has seen, and every misuse of the contract is an error.
import type { DecodeRow, Decoder, PrefillChunk, RunSignal } from '../../../src/model/thinker.ts';

export interface FakeDecoderOptions {
  readonly slots?: number;
  readonly capacity?: number;
  readonly vocabSize?: number;
  /** asked before every run; true makes it fail */
  readonly fails?: (run: 'prefill' | 'decode', slots: readonly number[]) => boolean;
  /** awaited in every run; a microtask when absent */
  readonly pause?: () => Promise<void>;
}

interface SlotState {
  hash: number;
  length: number;
  nextPosition: number | undefined;
}

function mix(hash: number, value: number): number {
  let mixed = Math.imul(hash ^ value, 0x9e3779b1);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x85ebca77);
  return mixed ^ (mixed >>> 13);
}

export class FakeDecoder implements Decoder {
  readonly slots: number;
  readonly capacity: number;
  readonly vocabSize: number;
  readonly hiddenSize = 2;
  /** what callers did wrong; the engine may swallow the errors, so tests look here */
  readonly violations: string[] = [];
  readonly chunks: PrefillChunk[] = [];
  readonly decoded: DecodeRow[][] = [];
  readonly order: ('prefill' | 'decode')[] = [];
  readonly #options: FakeDecoderOptions;
  readonly #states: (SlotState | undefined)[];
  readonly #logits: Float32Array;
  #running = false;

  constructor(options: FakeDecoderOptions = {}) {
    this.#options = options;
    this.slots = options.slots ?? 4;
    this.capacity = options.capacity ?? 256;
    this.vocabSize = options.vocabSize ?? 37;
    this.#states = new Array<SlotState | undefined>(this.slots).fill(undefined);
    this.#logits = new Float32Array(this.slots * this.vocabSize);
  }

  /** tokens in each slot */
  get lengths(): number[] {
    return this.#states.map((state) => state?.length ?? 0);
  }

  async prefill(chunk: PrefillChunk, options: RunSignal = {}): Promise<Float32Array | undefined> {
    return this.#alone('prefill', [chunk.slot], options, () => {
      this.chunks.push(chunk);
      const state = this.#states[chunk.slot] ?? { hash: 1, length: 0, nextPosition: undefined };
      this.#states[chunk.slot] = state;
      const count = chunk.ids.length;
      this.#check(chunk.start === state.length, `chunk starts at ${chunk.start}, the slot holds ${state.length}`);
      this.#check(count > 0 && state.length + count <= this.capacity, `chunk of ${count} does not fit after ${state.length}`);
      this.#check(chunk.positions.length === 3 * count, `${chunk.positions.length} positions for ${count} ids`);
      this.#check(chunk.mediaEmbeds.length === chunk.mediaRows.length * this.hiddenSize, 'embeddings do not match media rows');
      this.#check(state.nextPosition === undefined, 'prefill of a slot that was already decoded');
      let media = 0;
      chunk.ids.forEach((id, row) => {
        const axes = [0, 1, 2].map((axis) => chunk.positions[axis * count + row] ?? -1);
        for (const value of [id, ...axes]) state.hash = mix(state.hash, value);
        if (chunk.mediaRows[media] !== row) return;
        for (const value of chunk.mediaEmbeds.subarray(media * 2, media * 2 + 2)) state.hash = mix(state.hash, Math.round(value * 1000));
        media++;
      });
      this.#check(media === chunk.mediaRows.length, 'media rows outside the chunk or not ascending');
      state.length += count;
      if (!chunk.wantLogits) return undefined;
      this.#fill(0, state.hash);
      return this.#logits.subarray(0, this.vocabSize);
    });
  }

  async decode(rows: readonly DecodeRow[], options: RunSignal = {}): Promise<Float32Array> {
    const slots = rows.map((row) => row.slot);
    return this.#alone('decode', slots, options, () => {
      this.decoded.push([...rows]);
      this.#check(rows.length > 0 && new Set(slots).size === rows.length, `slots ${slots.join()} in one decode`);
      rows.forEach((row, index) => {
        const state = this.#states[row.slot];
        if (state === undefined) throw this.#violation(`decode of the empty slot ${row.slot}`);
        this.#check(state.length < this.capacity, `decode of the full slot ${row.slot}`);
        this.#check(state.nextPosition === undefined || state.nextPosition === row.position, `position ${row.position}, expected ${state.nextPosition ?? -1}`);
        state.nextPosition = row.position + 1;
        state.hash = mix(mix(state.hash, row.token), row.position);
        state.length++;
        this.#fill(index, state.hash);
      });
      return this.#logits.subarray(0, rows.length * this.vocabSize);
    });
  }

  reset(slot: number): void {
    this.#check(!this.#running, `reset of slot ${slot} during a run`);
    this.#states[slot] = undefined;
  }

  async #alone<Result>(run: 'prefill' | 'decode', slots: readonly number[], options: RunSignal, work: () => Result): Promise<Result> {
    this.#check(!this.#running, `${run} while another run is in flight`);
    this.#running = true;
    this.order.push(run);
    this.#logits.fill(NaN); // logits kept beyond the next run would poison their reader
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
    for (let id = 0; id < this.vocabSize; id++) this.#logits[row * this.vocabSize + id] = (mix(hash, id) >>> 0) / 2 ** 29 - 4;
  }

  #violation(message: string): Error {
    this.violations.push(message);
    return new Error(message);
  }

  #check(holds: boolean, message: string): void {
    if (!holds) throw this.#violation(message);
  }
}
