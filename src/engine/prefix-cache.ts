// Prompts with the same start share its prefill: the keys and values are copied from a live
// sequence or from a prefix slot.
import type { Decoder } from '../model/execution/thinker.ts';
import type { Priority } from '../base/priority-turns.ts';

/** Least-recently-used map from prefix keys to prefix slots. */
export class PrefixSlots {
  readonly #free: number[];
  /** least recently used first */
  readonly #slots = new Map<string, number>();

  /** @param first number of the first of `count` slots */
  constructor(first: number, count: number) {
    this.#free = Array.from({ length: count }, (_, index) => first + index);
  }

  has(key: string): boolean {
    return this.#slots.has(key);
  }

  /** The key's slot, marked as most recently used. */
  use(key: string): number | undefined {
    const slot = this.#slots.get(key);
    if (slot === undefined) return undefined;
    this.#slots.delete(key);
    this.#slots.set(key, slot);
    return slot;
  }

  /** A free slot, or that of the least recently used key; undefined when there are no prefix slots. */
  take(): number | undefined {
    const [oldest] = this.#slots.keys();
    if (this.#free.length === 0 && oldest !== undefined) this.forget(oldest);
    return this.#free.shift();
  }

  /** `slot`, from take(), now holds the key's tokens. */
  put(key: string, slot: number): void {
    this.#slots.set(key, slot);
  }

  /** Returns an unused slot from take(). */
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

/** Shorter prefixes are not shared: their prefill costs about as much as one decode step. */
const FEWEST_TOKENS = 64;

/** The view of a sequence that prefix sharing needs. */
export interface PrefixHolder {
  readonly slot: number;
  readonly priority: Priority;
  /** undefined: not shareable */
  readonly prefix: { readonly key: string; readonly tokens: number } | undefined;
  /** prompt tokens in its slot so far */
  readonly promptDone: number;
  raisePriority(priority: Priority): void;
}

/** Copies must happen between two runs, so only the engine's loop calls takeOver() and keep(). */
export class PrefixCache {
  readonly #decoder: Pick<Decoder, 'slots' | 'prefixSlots' | 'copyPrefix'>;
  readonly #stored: PrefixSlots;
  readonly #onFault: (thrown: unknown) => void;
  #hits = 0;
  #misses = 0;

  /** @param onFault told why a copy failed */
  constructor(decoder: Pick<Decoder, 'slots' | 'prefixSlots' | 'copyPrefix'>, onFault: (thrown: unknown) => void) {
    this.#decoder = decoder;
    this.#onFault = onFault;
    this.#stored = new PrefixSlots(decoder.slots, decoder.prefixSlots);
  }

  /** sequences that reused a prefix */
  get hits(): number {
    return this.#hits;
  }

  /** sequences with a shareable prefix that had to prefill it */
  get misses(): number {
    return this.#misses;
  }

  /** The live sequence that is prefilling the prefix `sequence` could reuse soon; undefined: do not wait. */
  readerFor(sequence: PrefixHolder, live: readonly PrefixHolder[]): PrefixHolder | undefined {
    const key = keyOf(sequence);
    if (key === undefined || this.#stored.has(key)) return undefined;
    const alike = live.filter((other) => keyOf(other) === key);
    return alike.some(hasPassed) ? undefined : alike[0];
  }

  /**
   * Copies the prefix of an admitted sequence into its slot, if it is in a prefix slot or in that of a live sequence.
   * @param live healthy sequences that hold a slot
   * @returns tokens copied; 0 when nothing matched or the copy failed (the slot is then as empty as before)
   */
  async takeOver(sequence: PrefixHolder, live: readonly PrefixHolder[]): Promise<number> {
    const key = keyOf(sequence);
    if (key === undefined || sequence.prefix === undefined) return 0;
    const { tokens } = sequence.prefix;
    const source = this.#stored.use(key) ?? live.find((other) => keyOf(other) === key && hasPassed(other))?.slot;
    const isCopied = source !== undefined && (await this.#copy(source, sequence.slot, tokens));
    if (!isCopied) this.#stored.forget(key); // a failed copy is not tried again
    if (isCopied) this.#hits++;
    else this.#misses++;
    return isCopied ? tokens : 0;
  }

  /** Copies a prefix that has just been prefilled into a prefix slot, for later requests. */
  async keep(sequence: PrefixHolder): Promise<void> {
    const key = keyOf(sequence);
    if (key === undefined || sequence.promptDone !== sequence.prefix?.tokens || this.#stored.has(key)) return;
    const slot = this.#stored.take();
    if (slot === undefined) return;
    if (await this.#copy(sequence.slot, slot, sequence.promptDone)) this.#stored.put(key, slot);
    else this.#stored.giveBack(slot);
  }

  /** A failed copy only costs a prefill, so it is reported and no sequence ends; `to` is empty after it. */
  async #copy(from: number, to: number, tokens: number): Promise<boolean> {
    try {
      await this.#decoder.copyPrefix(from, to, tokens);
      return true;
    } catch (thrown) {
      this.#onFault(thrown);
      return false;
    }
  }
}

function hasPassed({ prefix, promptDone }: PrefixHolder): boolean {
  return prefix !== undefined && promptDone >= prefix.tokens;
}

/** Includes the length: equal keys with different lengths are different prefixes. */
function keyOf({ prefix }: PrefixHolder): string | undefined {
  return prefix === undefined || prefix.tokens < FEWEST_TOKENS ? undefined : `${prefix.tokens} ${prefix.key}`;
}
