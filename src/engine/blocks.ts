/** Which slot holds how much of the KV cache's memory: blocks of so many tokens, which all slots share. */
export class Blocks {
  readonly #count: number;
  readonly #tokens: number;
  readonly #held = new Map<number, number>();
  #used = 0;

  /** @param count blocks of the cache @param tokens of a block */
  constructor(count: number, tokens: number) {
    this.#count = count;
    this.#tokens = tokens;
  }

  /** tokens that all blocks hold together */
  get capacity(): number {
    return this.#count * this.#tokens;
  }

  get free(): number {
    return this.#count - this.#used;
  }

  /** Blocks that hold so many tokens. */
  of(tokens: number): number {
    return Math.ceil(tokens / this.#tokens);
  }

  /** Blocks that a slot holds. */
  heldBy(slot: number): number {
    return this.#held.get(slot) ?? 0;
  }

  /** Gives the slot blocks for so many tokens, which must be free. */
  take(slot: number, tokens: number): void {
    const blocks = this.of(tokens);
    if (blocks > this.free || this.#held.has(slot))
      throw new Error(`Slot ${slot} cannot have ${blocks} blocks, ${this.free} are free. This is a bug.`);
    this.#held.set(slot, blocks);
    this.#used += blocks;
  }

  /** Takes back what the slot holds. */
  release(slot: number): void {
    this.#used -= this.heldBy(slot);
    this.#held.delete(slot);
  }
}
