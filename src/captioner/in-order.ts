/** Passes on the values of several sources in order: those of the next are held until the one before has ended. */
export class InOrder<T> {
  readonly #emit: (value: T) => void;
  readonly #held = new Map<number, T[]>();
  readonly #ended = new Set<number>();
  #current = 0;

  constructor(emit: (value: T) => void) {
    this.#emit = emit;
  }

  /** @param source its place in the order, from 0 */
  emit(source: number, value: T): void {
    if (source === this.#current) this.#emit(value);
    else {
      const held = this.#held.get(source);
      if (held === undefined) this.#held.set(source, [value]);
      else held.push(value);
    }
  }

  /** Nothing more comes from it. */
  end(source: number): void {
    this.#ended.add(source);
    while (this.#ended.delete(this.#current)) {
      this.#current += 1;
      const held = this.#held.get(this.#current) ?? [];
      this.#held.delete(this.#current);
      for (const value of held) this.#emit(value);
    }
  }
}
