import { hash } from 'node:crypto';
import { fsPath } from './path-text.ts';

const FIRST_SLOTS = 1 << 10;
const MOST_FULL = 0.7;

/**
 * A map from texts to numbers that keeps 64 bits of each text's hash instead of the text: 23 to 46 bytes an entry. Two
 * of a million texts share their 64 bits with a chance of 3 in 100 million.
 */
export class KeyTable {
  #hashes = new Uint32Array(2 * FIRST_SLOTS);
  #values = new Float64Array(FIRST_SLOTS).fill(NaN);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(key: string): number | undefined {
    const value = this.#values[this.#slotOf(...hashOf(key))] ?? NaN;
    return Number.isNaN(value) ? undefined : value;
  }

  set(key: string, value: number): void {
    const [high, low] = hashOf(key);
    const slot = this.#slotOf(high, low);
    if (Number.isNaN(this.#values[slot])) this.#size += 1;
    this.#put(slot, high, low, value);
    if (this.#size > MOST_FULL * this.#values.length) this.#grow();
  }

  /** All values, in no order. */
  *values(): Generator<number> {
    for (const value of this.#values) if (!Number.isNaN(value)) yield value;
  }

  #put(slot: number, high: number, low: number, value: number): void {
    this.#hashes[2 * slot] = high;
    this.#hashes[2 * slot + 1] = low;
    this.#values[slot] = value;
  }

  /** The slot that has the hash, or the free one where it belongs. */
  #slotOf(high: number, low: number): number {
    const mask = this.#values.length - 1;
    let slot = low & mask;
    while (!Number.isNaN(this.#values[slot]) && (this.#hashes[2 * slot] !== high || this.#hashes[2 * slot + 1] !== low))
      slot = (slot + 1) & mask;
    return slot;
  }

  #grow(): void {
    const [hashes, values] = [this.#hashes, this.#values];
    this.#hashes = new Uint32Array(2 * hashes.length);
    this.#values = new Float64Array(2 * values.length).fill(NaN);
    for (const [slot, value] of values.entries()) {
      if (Number.isNaN(value)) continue;
      const [high, low] = [hashes[2 * slot] ?? 0, hashes[2 * slot + 1] ?? 0];
      this.#put(this.#slotOf(high, low), high, low, value);
    }
  }
}

function hashOf(key: string): [high: number, low: number] {
  const bytes = hash('sha256', fsPath(key), 'buffer');
  return [bytes.readUInt32LE(0), bytes.readUInt32LE(4)];
}
