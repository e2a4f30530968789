/**
 * Which sequence holds which KV slot. The lowest free slot is taken first: a decode step runs a contiguous range of
 * slots, which should stay short.
 */
export class Slots<Owner> {
  readonly #owners: (Owner | undefined)[];
  #used = 0;

  constructor(count: number) {
    if (!Number.isInteger(count) || count < 1)
      throw new Error(`A decoder with ${count} slots cannot run anything. This is a bug.`);
    this.#owners = new Array<Owner | undefined>(count).fill(undefined);
  }

  get free(): number {
    return this.#owners.length - this.#used;
  }

  get used(): number {
    return this.#used;
  }

  /** Gives the lowest free slot to `owner`. */
  take(owner: Owner): number {
    const slot = this.#owners.indexOf(undefined);
    if (slot < 0) throw new Error(`All ${this.#owners.length} slots are taken. This is a bug.`);
    this.#owners[slot] = owner;
    this.#used++;
    return slot;
  }

  /** Releases the slot, which `owner` must hold. */
  release(slot: number, owner: Owner): void {
    if (this.#owners[slot] !== owner)
      throw new Error(`Slot ${slot} was released by a sequence that does not hold it. This is a bug.`);
    this.#owners[slot] = undefined;
    this.#used--;
  }

  /** The owners, by ascending slot. */
  owners(): Owner[] {
    return this.#owners.filter((owner) => owner !== undefined);
  }
}
