// Prompts that start alike are read once: their keys and values are copied from a live sequence or from a prefix slot.
import type { Decoder } from '../model/execution/thinker.ts';
import { PrefixSlots } from './prefix-slots.ts';
import type { Priority } from './types.ts';

/** A run of so few tokens costs about what a decode step does: not worth a slot, nor waiting for. */
const FEWEST_TOKENS = 64;

/** What is asked of a sequence that may share its start. */
export interface PrefixHolder {
  readonly slot: number;
  readonly priority: Priority;
  /** undefined when its start is nobody else's */
  readonly prefix: { readonly key: string; readonly tokens: number } | undefined;
  /** tokens of the prompt that are in its slot */
  readonly promptDone: number;
  raisePriority(priority: Priority): void;
}

/** All copies happen between two runs, which only the engine's loop can know: it alone calls what copies. */
export class PrefixReuse {
  readonly #decoder: Pick<Decoder, 'slots' | 'prefixSlots' | 'copyPrefix'>;
  readonly #stored: PrefixSlots;
  #hits = 0;
  #misses = 0;

  constructor(decoder: Pick<Decoder, 'slots' | 'prefixSlots' | 'copyPrefix'>) {
    this.#decoder = decoder;
    this.#stored = new PrefixSlots(decoder.slots, decoder.prefixSlots);
  }

  /** sequences that took their start over */
  get hits(): number {
    return this.#hits;
  }

  /** sequences that could have shared their start, but read it themselves */
  get misses(): number {
    return this.#misses;
  }

  /** Who of `live` is reading what `sequence` could take over soon. */
  readerFor(sequence: PrefixHolder, live: readonly PrefixHolder[]): PrefixHolder | undefined {
    const key = keyOf(sequence);
    if (key === undefined || this.#stored.has(key)) return undefined;
    const alike = live.filter((other) => keyOf(other) === key);
    return alike.some(hasPassed) ? undefined : alike[0];
  }

  /**
   * Copies the start of an admitted sequence into its slot, from where it is known.
   * @param live who else holds a slot, in good health
   * @returns tokens taken over; 0 also when the copy failed, after which the slot is as empty as before
   */
  async takeOver(sequence: PrefixHolder, live: readonly PrefixHolder[]): Promise<number> {
    const key = keyOf(sequence);
    if (key === undefined || sequence.prefix === undefined) return 0;
    const { tokens } = sequence.prefix;
    const source = this.#stored.use(key) ?? live.find((other) => keyOf(other) === key && hasPassed(other))?.slot;
    const isCopied = source !== undefined && (await this.#copy(source, sequence.slot, tokens));
    if (!isCopied) this.#stored.forget(key); // whatever is wrong with it, it is not tried again
    if (isCopied) this.#hits++;
    else this.#misses++;
    return isCopied ? tokens : 0;
  }

  /** Keeps the start of a sequence that has just been read in a prefix slot, for those that come after it. */
  async keep(sequence: PrefixHolder): Promise<void> {
    const key = keyOf(sequence);
    if (key === undefined || sequence.promptDone !== sequence.prefix?.tokens || this.#stored.has(key)) return;
    const slot = this.#stored.take();
    if (slot === undefined) return;
    if (await this.#copy(sequence.slot, slot, sequence.promptDone)) this.#stored.put(key, slot);
    else this.#stored.giveBack(slot);
  }

  /** Without the copy the prompt is read as usual, so a failure ends nobody; `to` is empty after one. */
  async #copy(from: number, to: number, tokens: number): Promise<boolean> {
    try {
      await this.#decoder.copyPrefix(from, to, tokens);
      return true;
    } catch {
      return false;
    }
  }
}

function hasPassed({ prefix, promptDone }: PrefixHolder): boolean {
  return prefix !== undefined && promptDone >= prefix.tokens;
}

/** The length is a part of it: two keys that differ in it alone are not the same start. */
function keyOf({ prefix }: PrefixHolder): string | undefined {
  return prefix === undefined || prefix.tokens < FEWEST_TOKENS ? undefined : `${prefix.tokens} ${prefix.key}`;
}
