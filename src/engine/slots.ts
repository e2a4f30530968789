/** Who holds which KV slot. The lowest free slot goes first, so that live slots stay together and a decode step touches few. */
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

  canTake(): boolean {
    return this.free > 0;
  }

  /** Gives the lowest free slot to `owner`. */
  take(owner: Owner): number {
    const slot = this.#owners.indexOf(undefined);
    if (slot < 0) throw new Error(`All ${this.#owners.length} slots are taken. This is a bug.`);
    this.#owners[slot] = owner;
    this.#used++;
    return slot;
  }

  /** Takes the slot back from `owner`, who must hold it. */
  release(slot: number, owner: Owner): void {
    if (this.#owners[slot] !== owner)
      throw new Error(`Slot ${slot} was released by a sequence that does not hold it. This is a bug.`);
    this.#owners[slot] = undefined;
    this.#used--;
  }

  /** Those who hold a slot, by ascending slot. */
  owners(): Owner[] {
    return this.#owners.filter((owner) => owner !== undefined);
  }
}
