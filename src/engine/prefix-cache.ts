// Prompts with the same start share its prefill: the keys and values are copied from a live
// sequence or from a prefix slot.
import type { Decoder } from '../model/execution/thinker.ts';
import type { Priority } from '../base/priority-turns.ts';
import type { Blocks } from './blocks.ts';

/** Least-recently-used map from prefix keys to prefix slots. */
export class PrefixSlots {
  readonly #free: number[];
  /** least recently used first */
  readonly #slots = new Map<string, number>();

  /** @param first number of the first of `count` slots */
  constructor(first: number, count: number) {
    this.#free = Array.from({ length: count }, (_, index) => first + index);
  }

  get hasFree(): boolean {
    return this.#free.length > 0;
  }

  has(key: string): boolean {
    return this.#slots.has(key);
  }

  /** Slots that hold a prefix. */
  held(): number[] {
    return [...this.#slots.values()];
  }

  /** The key that was not used for longest. @param spare only when there is no other */
  oldest(spare?: string): string | undefined {
    for (const key of this.#slots.keys()) if (key !== spare) return key;
    return spare !== undefined && this.#slots.has(spare) ? spare : undefined;
  }

  /** The key's slot, marked as most recently used. */
  use(key: string): number | undefined {
    const slot = this.#slots.get(key);
    if (slot === undefined) return undefined;
    this.#slots.delete(key);
    this.#slots.set(key, slot);
    return slot;
  }

  /** A free slot, if there is one. */
  take(): number | undefined {
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

  /** @returns the key's slot, which is free now */
  forget(key: string): number | undefined {
    const slot = this.#slots.get(key);
    if (slot === undefined) return undefined;
    this.#slots.delete(key);
    this.#free.push(slot);
    return slot;
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

type PrefixDecoder = Pick<Decoder, 'slots' | 'prefixSlots' | 'allocate' | 'copyPrefix' | 'free'>;

/** Copies must happen between two runs, so only the engine's loop calls takeOver(), keep() and dropOldest(). */
export class PrefixCache {
  readonly #decoder: PrefixDecoder;
  readonly #blocks: Blocks;
  readonly #stored: PrefixSlots;
  readonly #onFault: (thrown: unknown) => void;
  #hits = 0;
  #misses = 0;

  /** @param blocks of the decoder, shared with the slots that run @param onFault told of what failed */
  constructor(decoder: PrefixDecoder, blocks: Blocks, onFault: (thrown: unknown) => void) {
    this.#decoder = decoder;
    this.#blocks = blocks;
    this.#onFault = onFault;
    this.#stored = new PrefixSlots(decoder.slots, decoder.prefixSlots);
  }

  /** blocks that prefixes hold: they can be dropped at any time */
  get blocks(): number {
    return this.#stored.held().reduce((sum, slot) => sum + this.#blocks.heldBy(slot), 0);
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
    if (!isCopied) await this.#drop(key); // a failed copy is not tried again
    if (isCopied) this.#hits++;
    else this.#misses++;
    return isCopied ? tokens : 0;
  }

  /** Copies a prefix that has just been prefilled into a prefix slot, for later requests, if there is memory for it. */
  async keep(sequence: PrefixHolder): Promise<void> {
    const key = keyOf(sequence);
    const { prefix, promptDone } = sequence;
    if (key === undefined || promptDone !== prefix?.tokens || this.#stored.has(key)) return;
    if (this.#blocks.of(promptDone) > this.#blocks.free + this.blocks) return;
    if (!this.#stored.hasFree) await this.dropOldest();
    while (this.#blocks.of(promptDone) > this.#blocks.free) await this.dropOldest();
    const slot = this.#stored.take();
    if (slot === undefined) return;
    this.#blocks.take(slot, promptDone);
    if ((await this.#allocate(slot, promptDone)) && (await this.#copy(sequence.slot, slot, promptDone)))
      this.#stored.put(key, slot);
    else {
      this.#stored.giveBack(slot);
      await this.#free(slot);
    }
  }

  /**
   * Forgets the prefix that was not used for longest; that of `sequence` only when there is no other.
   * @returns whether there was one
   */
  async dropOldest(sequence?: PrefixHolder): Promise<boolean> {
    const oldest = this.#stored.oldest(sequence && keyOf(sequence));
    if (oldest === undefined) return false;
    await this.#drop(oldest);
    return true;
  }

  async #drop(key: string): Promise<void> {
    const slot = this.#stored.forget(key);
    if (slot !== undefined) await this.#free(slot);
  }

  async #free(slot: number): Promise<void> {
    this.#blocks.release(slot); // also where the decoder fails: the slot is used again
    await this.#decoder.free(slot).catch(this.#onFault);
  }

  /** A failed copy only costs a prefill, so it is reported and no sequence ends; `to` is empty after it. */
  #copy(from: number, to: number, tokens: number): Promise<boolean> {
    return this.#succeeds(() => this.#decoder.copyPrefix(from, to, tokens));
  }

  #allocate(slot: number, tokens: number): Promise<boolean> {
    return this.#succeeds(() => this.#decoder.allocate(slot, tokens));
  }

  async #succeeds(work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
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
