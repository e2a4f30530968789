const FIRST_SAMPLES = 1 << 20;

/** Gathers little-endian f32 samples from byte chunks that may split a sample, up to a limit. */
export class WaveformBuilder {
  readonly #limit: number;
  #bytes = new Uint8Array(FIRST_SAMPLES * 4);
  #length = 0;
  #overflowed = false;

  constructor(limitSamples: number) {
    this.#limit = limitSamples * 4;
  }

  /** more came than the limit holds */
  get overflowed(): boolean {
    return this.#overflowed;
  }

  push(chunk: Uint8Array): 'more' | 'enough' {
    const take = Math.min(chunk.length, this.#limit - this.#length);
    this.#reserve(this.#length + take);
    this.#bytes.set(chunk.subarray(0, take), this.#length);
    this.#length += take;
    this.#overflowed = take < chunk.length;
    return this.#overflowed ? 'enough' : 'more';
  }

  /** Cuts, or fills up with silence. */
  setLength(samples: number): void {
    const bytes = Math.min(samples * 4, this.#limit);
    this.#reserve(bytes);
    this.#bytes.fill(0, Math.min(this.#length, bytes), bytes);
    this.#length = bytes;
  }

  /** The samples, in a buffer of their own. */
  take(): Float32Array<ArrayBuffer> {
    return new Float32Array(this.#bytes.buffer.slice(0, this.#length - (this.#length % 4)));
  }

  #reserve(bytes: number): void {
    if (bytes <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(bytes, this.#bytes.length * 2));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}
