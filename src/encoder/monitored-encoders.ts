import type { AudioOptions, RunSignal, Towers } from '../model/execution/thinker.ts';

/** Towers whose runs are counted, for those who watch that work goes forward. */
export class WatchedTowers implements Towers {
  readonly #towers: Towers;
  #underWay = 0;
  #finished = 0;

  constructor(towers: Towers) {
    this.#towers = towers;
  }

  /** a run is under way, or due in the next moment */
  get busy(): boolean {
    return this.#underWay > 0;
  }

  /** runs that came back */
  get finished(): number {
    return this.#finished;
  }

  async encodeVision(
    patches: Float32Array<ArrayBuffer>,
    steps: number,
    gridH: number,
    gridW: number,
    options?: RunSignal,
  ): Promise<Float32Array<ArrayBuffer>> {
    return this.#watch(async () => {
      const embeds = await this.#towers.encodeVision(patches, steps, gridH, gridW, options);
      this.#finished++;
      return embeds;
    });
  }

  async encodeAudio(
    mel: Float32Array<ArrayBuffer>,
    frames: number,
    options: AudioOptions = {},
  ): Promise<Float32Array<ArrayBuffer>> {
    const onProgress = (tokens: number): void => {
      this.#finished++;
      options.onProgress?.(tokens);
    };
    return this.#watch(() => this.#towers.encodeAudio(mel, frames, { ...options, onProgress }));
  }

  async #watch<T>(work: () => Promise<T>): Promise<T> {
    this.#underWay++;
    try {
      return await work();
    } finally {
      this.#underWay--;
    }
  }
}
