// Cuts a byte stream into frames. Holds a fixed number of buffers, whatever the clip's length.

/** A frame is its reader's until the promise resolves; then its buffer is filled again. `position` counts from 0 in the plan. */
export type FrameReader = (frame: Uint8Array<SharedArrayBuffer>, position: number) => void | Promise<void>;

interface Slot {
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  busy: Promise<void> | undefined;
}

export class FrameAssembler {
  readonly #slots: readonly Slot[];
  readonly #onFrame: FrameReader;
  /** positions of the plan that the n-th decoded frame serves: one, or more where a frame is picked twice */
  readonly #positions: readonly (readonly number[])[];
  #current = 0;
  #filled = 0;
  #frames = 0;
  #delivered = 0;

  constructor(frameBytes: number, buffers: number, positions: readonly (readonly number[])[], onFrame: FrameReader) {
    // Shared, so that pool threads resize a frame without a copy while the next one arrives.
    this.#slots = Array.from({ length: buffers }, () => ({
      bytes: new Uint8Array(new SharedArrayBuffer(frameBytes)),
      busy: undefined,
    }));
    this.#positions = positions;
    this.#onFrame = onFrame;
  }

  /** positions of the plan handed out so far */
  get delivered(): number {
    return this.#delivered;
  }

  /** Takes bytes; a promise where a buffer has to come free first. */
  push(chunk: Uint8Array): void | Promise<void> {
    let offset = 0;
    while (offset < chunk.length) {
      const slot = this.#slot();
      if (slot.busy !== undefined) return slot.busy.then(() => this.push(chunk.subarray(offset)));
      const take = Math.min(slot.bytes.length - this.#filled, chunk.length - offset);
      slot.bytes.set(
        offset === 0 && take === chunk.length ? chunk : chunk.subarray(offset, offset + take),
        this.#filled,
      );
      this.#filled += take;
      offset += take;
      if (this.#filled === slot.bytes.length) this.#deliver(slot);
    }
  }

  /** Waits until every reader is done. */
  async finish(): Promise<void> {
    for (const slot of this.#slots) await slot.busy;
  }

  #slot(): Slot {
    const slot = this.#slots[this.#current];
    if (slot === undefined) throw new Error('The frame assembler has no buffer. This is a bug.');
    return slot;
  }

  #deliver(slot: Slot): void {
    const positions = this.#positions[this.#frames];
    if (positions === undefined)
      throw new Error(`ffmpeg gave frame ${this.#frames + 1} of ${this.#positions.length}. This is a bug.`);
    this.#frames++;
    this.#filled = 0;
    this.#current = (this.#current + 1) % this.#slots.length;
    const pending = positions
      .map((position) => this.#onFrame(slot.bytes, position))
      .filter((answer) => answer instanceof Promise);
    this.#delivered += positions.length;
    if (pending.length === 0) return;
    slot.busy = Promise.all(pending).then(() => {
      slot.busy = undefined;
    });
    // push() or finish() reports it; until then it is not unhandled.
    slot.busy.catch(() => undefined);
  }
}
