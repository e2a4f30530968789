import type { FloatArray, FloatDType } from '../base/floats.ts';
import { WorkClock } from '../base/work-clock.ts';
import type { AudioOptions, RunSignal, Towers } from '../model/execution/thinker.ts';

/** Encoders that count their runs, for stall detection, and how long they are busy. */
export class MonitoredEncoders implements Towers {
  readonly #towers: Towers;
  readonly #clock: WorkClock;
  #running = 0;
  #finished = 0;

  constructor(towers: Towers, clock = new WorkClock()) {
    this.#towers = towers;
    this.#clock = clock;
  }

  get dtype(): FloatDType {
    return this.#towers.dtype;
  }

  get parallel(): boolean {
    return this.#towers.parallel === true;
  }

  /** a run is in progress or about to start */
  get busy(): boolean {
    return this.#running > 0;
  }

  /** finished runs */
  get finished(): number {
    return this.#finished;
  }

  async encodeVision(
    patches: Float32Array<ArrayBuffer>,
    steps: number,
    gridH: number,
    gridW: number,
    options?: RunSignal,
  ): Promise<FloatArray> {
    return this.#monitor(async () => {
      const embeds = await this.#towers.encodeVision(patches, steps, gridH, gridW, options);
      this.#finished++;
      return embeds;
    });
  }

  async encodeAudio(mel: Float32Array<ArrayBuffer>, frames: number, options: AudioOptions = {}): Promise<FloatArray> {
    const onProgress = (tokens: number): void => {
      this.#finished++;
      options.onProgress?.(tokens);
    };
    return this.#monitor(() => this.#towers.encodeAudio(mel, frames, { ...options, onProgress }));
  }

  async #monitor<T>(work: () => Promise<T>): Promise<T> {
    this.#running++;
    try {
      return await this.#clock.time('encoders', work);
    } finally {
      this.#running--;
    }
  }
}
