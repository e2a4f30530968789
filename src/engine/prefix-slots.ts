/** Which key's tokens lie in which prefix slot; the one used longest ago makes room. */
export class PrefixSlots {
  readonly #free: number[];
  /** in order of use, the latest last */
  readonly #slots = new Map<string, number>();

  /** @param first number of the first of `count` slots */
  constructor(first: number, count: number) {
    this.#free = Array.from({ length: count }, (_, index) => first + index);
  }

  has(key: string): boolean {
    return this.#slots.has(key);
  }

  /** The key's slot, which now counts as used last. */
  use(key: string): number | undefined {
    const slot = this.#slots.get(key);
    if (slot === undefined) return undefined;
    this.#slots.delete(key);
    this.#slots.set(key, slot);
    return slot;
  }

  /** A slot for a key that has none, empty or taken from the key used longest ago; undefined when there are none at all. */
  take(): number | undefined {
    const [oldest] = this.#slots.keys();
    if (this.#free.length === 0 && oldest !== undefined) this.forget(oldest);
    return this.#free.shift();
  }

  /** `slot`, which take() gave, now holds the key's tokens. */
  put(key: string, slot: number): void {
    this.#slots.set(key, slot);
  }

  /** Gives back what take() gave and nobody filled. */
  giveBack(slot: number): void {
    this.#free.push(slot);
  }

  forget(key: string): void {
    const slot = this.#slots.get(key);
    if (slot === undefined) return;
    this.#slots.delete(key);
    this.#free.push(slot);
  }
}
