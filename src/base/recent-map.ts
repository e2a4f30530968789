/** A map of at most so many entries: one more forgets the one that was set longest ago. */
export class RecentMap<Key, Value> extends Map<Key, Value> {
  readonly #capacity: number;

  /** @param capacity at least 1 */
  constructor(capacity: number) {
    super();
    this.#capacity = capacity;
  }

  /** A key that is set again counts as new. */
  override set(key: Key, value: Value): this {
    this.delete(key);
    super.set(key, value);
    const oldest = this.keys().next();
    if (this.size > this.#capacity && oldest.done !== true) this.delete(oldest.value);
    return this;
  }
}
