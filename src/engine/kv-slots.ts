// Who has a slot and memory of the KV cache: given in turn, taken from batch sequences for interactive ones, shared
// with the prefixes of earlier prompts. Only the engine's loop calls it, between two runs.
import type { Decoder } from '../model/execution/thinker.ts';
import { Blocks } from './blocks.ts';
import { PrefixCache } from './prefix-cache.ts';
import { isInteractive, type Scheduler } from './scheduler.ts';
import { hasEnded, type Sequence } from './sequence.ts';
import { Slots } from './slots.ts';

/**
 * So many interactive sequences may take memory while a batch one finds too little at its turn. Then nobody gets any
 * before it: it waits long, but not for ever, and holds up the other ones of its class no longer.
 */
const MOST_OVERTAKING = 64;

export class KvSlots {
  readonly prefixes: PrefixCache;
  readonly #decoder: Decoder;
  readonly #scheduler: Pick<Scheduler, 'admit' | 'preempt'>;
  readonly #slots: Slots<Sequence>;
  readonly #blocks: Blocks;
  readonly #onFault: (thrown: unknown) => void;
  /** an interactive sequence waits for memory: no batch one overtakes it */
  #isShort = false;
  /** the batch sequence that found too little memory, and how many interactive ones have got some since */
  #overtaken: { readonly sequence: Sequence; by: number } | undefined;
  #preemptions = 0;

  /** @param onFault told why a prefix could not be copied or a slot not be emptied */
  constructor(decoder: Decoder, scheduler: Pick<Scheduler, 'admit' | 'preempt'>, onFault: (thrown: unknown) => void) {
    this.#decoder = decoder;
    this.#scheduler = scheduler;
    this.#slots = new Slots(decoder.slots);
    this.#blocks = new Blocks(decoder.blocks, decoder.blockTokens);
    this.#onFault = onFault;
    this.prefixes = new PrefixCache(decoder, this.#blocks, onFault);
  }

  get used(): number {
    return this.#slots.used;
  }

  get free(): number {
    return this.#slots.free;
  }

  /** Whether a sequence that waits could start if it were not for others: see {@link choose}. */
  get isFull(): boolean {
    return this.#slots.free === 0 || this.#isShort || this.#overdue !== undefined;
  }

  /** The batch sequence that nobody may overtake any more. */
  get #overdue(): Sequence | undefined {
    const { sequence, by = 0 } = this.#overtaken ?? {};
    return by >= MOST_OVERTAKING && sequence?.state === 'waiting' ? sequence : undefined;
  }

  /** batch sequences that gave up their slot to an interactive one */
  get preemptions(): number {
    return this.#preemptions;
  }

  /** tokens in the slots over the tokens they could hold, 0 … 1 */
  get usage(): number {
    const held = this.owners().reduce((sum, sequence) => sum + sequence.heldTokens, 0);
    return held / Math.min(this.#decoder.slots * this.#decoder.capacity, this.#blocks.capacity);
  }

  /** memory that sequences and kept prefixes have over all of it, 0 … 1 */
  get reserved(): number {
    return 1 - this.#blocks.free / this.#decoder.blocks;
  }

  /** The owners of slots, by ascending slot. */
  owners(): Sequence[] {
    return this.#slots.owners();
  }

  live(): Sequence[] {
    return this.#slots.owners().filter((sequence) => !hasEnded(sequence));
  }

  /**
   * Whose turn it is, with room made for it: where there is none for a batch sequence, for an interactive one. An
   * interactive one that needs more memory than there is waits, and is overtaken by nobody. Nor is a batch one that has
   * been overtaken {@link MOST_OVERTAKING} times.
   * @param ready sequences that may start; also to be called with none, since then none is short of memory
   * @param onPreempted told which batch sequences wait again
   */
  async choose(ready: readonly Sequence[], onPreempted: (victim: Sequence) => void): Promise<Sequence | undefined> {
    const overdue = this.#overdue;
    if (overdue !== undefined) {
      const hasRoom = ready.includes(overdue) && (await this.#makeRoom(overdue, [], onPreempted));
      return hasRoom ? overdue : undefined;
    }
    const interactive = ready.filter(isInteractive);
    const isShort = this.#isShort && interactive.length > 0;
    this.#isShort = false;
    for (const members of [this.#slots.free === 0 || isShort ? interactive : ready, interactive]) {
      const next = members.length === 0 ? undefined : this.#scheduler.admit(members);
      if (next === undefined) return undefined;
      if (await this.#makeRoom(next, interactive, onPreempted)) {
        if (isInteractive(next) && this.#overtaken !== undefined) this.#overtaken.by++;
        return next;
      }
      this.#isShort = isInteractive(next) && this.#slots.free > 0;
      if (isInteractive(next)) return undefined;
      if (this.#overtaken?.sequence.state !== 'waiting') this.#overtaken = { sequence: next, by: 0 };
    }
    return undefined;
  }

  /**
   * Gives a chosen sequence a slot with memory for all of its tokens, and copies its prefix if another has read it.
   * @param keepsSlot it does not give it up again
   * @throws AvocadoError `engine_error`, `device_unavailable`; the sequence has its slot then
   */
  async give(sequence: Sequence, keepsSlot: boolean): Promise<void> {
    const live = this.live();
    const slot = this.#slots.take(sequence);
    this.#blocks.take(slot, sequence.mostTokens);
    sequence.admit(slot, keepsSlot);
    await this.#decoder.allocate(slot, sequence.mostTokens);
    const taken = await this.prefixes.takeOver(sequence, live);
    if (!hasEnded(sequence)) sequence.startPrefill(taken);
  }

  /** Takes back the slot and the memory of a sequence. A failure is reported: it is no fault of those that run. */
  async release(sequence: Sequence, slot = sequence.slot): Promise<void> {
    this.#slots.release(slot, sequence);
    this.#blocks.release(slot);
    await this.#decoder.free(slot).catch(this.#onFault);
  }

  /** Free slots and memory, then the memory of prefixes, then what batch sequences give up for interactive ones. */
  async #makeRoom(
    next: Sequence,
    interactive: readonly Sequence[],
    onPreempted: (victim: Sequence) => void,
  ): Promise<boolean> {
    const needed = this.#blocks.of(next.mostTokens);
    const isMissing = (): boolean => needed > this.#blocks.free;
    const victims = isInteractive(next) ? this.live().filter(isVictim) : [];
    const ofVictims = victims.reduce((sum, { slot }) => sum + this.#blocks.heldBy(slot), 0);
    if (needed > this.#blocks.free + this.prefixes.blocks + ofVictims) return false;
    while (isMissing() && (await this.prefixes.dropOldest(next)));
    while (isMissing() || this.#slots.free === 0) {
      const victim = victims.length === 0 ? undefined : this.#scheduler.preempt(interactive, this.live());
      if (victim === undefined) return false;
      const { slot } = victim;
      victim.preempt();
      this.#preemptions++;
      onPreempted(victim);
      await this.release(victim, slot);
    }
    return true;
  }
}

function isVictim({ priority, isPreemptible }: Sequence): boolean {
  return priority === 'batch' && isPreemptible;
}
