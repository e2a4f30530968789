/** What a request's work runs through: its file's decoders, the encoders, prefill chunks, decode steps. */
export type WorkPart = 'files' | 'encoders' | 'prefill' | 'decode';

/** Seconds in which something of each part ran; `overlap`: an encoder and the decoder at the same time. */
export type BusySeconds = Readonly<Record<WorkPart | 'overlap', number>>;

export const NEVER_BUSY: BusySeconds = { files: 0, encoders: 0, prefill: 0, decode: 0, overlap: 0 };

/** Of two engines, or of one before and after a restart. */
export function addedSeconds(one: BusySeconds, other: BusySeconds): BusySeconds {
  return {
    files: one.files + other.files,
    encoders: one.encoders + other.encoders,
    prefill: one.prefill + other.prefill,
    decode: one.decode + other.decode,
    overlap: one.overlap + other.overlap,
  };
}

/** Counts how long each part of the work is busy, and the overlap. Two runs of one part at the same time count once. */
export class WorkClock {
  readonly #running: Record<WorkPart, number> = { files: 0, encoders: 0, prefill: 0, decode: 0 };
  readonly #seconds: Record<WorkPart | 'overlap', number> = { ...NEVER_BUSY };
  readonly #now: () => number;
  #countedMs: number;

  /** @param now milliseconds; given by tests */
  constructor(now = (): number => performance.now()) {
    this.#now = now;
    this.#countedMs = now();
  }

  async time<T>(part: WorkPart, work: () => Promise<T>): Promise<T> {
    this.#count();
    this.#running[part]++;
    try {
      return await work();
    } finally {
      this.#count();
      this.#running[part]--;
    }
  }

  seconds(): BusySeconds {
    this.#count();
    return { ...this.#seconds };
  }

  #count(): void {
    const now = this.#now();
    const elapsed = (now - this.#countedMs) / 1000;
    this.#countedMs = now;
    const { files, encoders, prefill, decode } = this.#running;
    if (files > 0) this.#seconds.files += elapsed;
    if (encoders > 0) this.#seconds.encoders += elapsed;
    if (prefill > 0) this.#seconds.prefill += elapsed;
    if (decode > 0) this.#seconds.decode += elapsed;
    if (encoders > 0 && prefill + decode > 0) this.#seconds.overlap += elapsed;
  }
}
