// The arithmetic of positions; which stretches follow which is decided in positions.ts.
import { tokensPerStep } from './layout.ts';
import type { LayoutConfig } from './layout.ts';

/** Merged tokens of frames, row-major in (step, row, column). */
export class VisualGrid {
  readonly tokens: number;
  readonly columns: number;
  readonly perStep: number;
  readonly #stepTimes: Int32Array;

  constructor(gridThw: readonly [number, number, number], secondPerGrid: number, config: LayoutConfig) {
    this.columns = gridThw[2] / config.vision.mergeSize;
    this.perStep = tokensPerStep(gridThw, config.vision.mergeSize);
    this.tokens = gridThw[0] * this.perStep;
    // float32 throughout, then truncated: torch multiplies the step by second_per_grid first.
    const seconds = Math.fround(secondPerGrid);
    const timeOf = (step: number): number => Math.fround(Math.fround(step * seconds) * config.positionIdPerSeconds);
    this.#stepTimes = Int32Array.from({ length: gridThw[0] }, (_, step) => timeOf(step));
  }

  /** Position of a token's temporal step, relative to the first. */
  time(token: number): number {
    return this.#stepTimes[Math.floor(token / this.perStep)] ?? 0;
  }
}

/** Fills [3, length] positions from left to right. */
export class PositionWriter {
  /** 1 + highest position of the stretch written last */
  next = 0;
  readonly #positions: Int32Array;
  readonly #length: number;
  #index = 0;
  #highest = -1;

  constructor(length: number) {
    this.#length = length;
    this.#positions = new Int32Array(3 * length);
  }

  text(length: number): void {
    this.sequence(this.next, length);
  }

  /** The next token shares the position of the one before. */
  repeatLast(): void {
    this.sequence(this.next - 1, 1);
  }

  /** `count` tokens at first, first + 1, …, alike on the three axes. */
  sequence(first: number, count: number): void {
    for (let offset = 0; offset < count; offset++) this.#write(first + offset, first + offset, first + offset);
    if (count > 0) this.#ended(first + count - 1);
  }

  /** Tokens [from, to) of the grid, whose first token sits at `base`. */
  visual(grid: VisualGrid, base: number, from = 0, to = grid.tokens): void {
    let highest = -1;
    for (let token = from; token < to; token++) {
      const inStep = token % grid.perStep;
      const row = Math.floor(inStep / grid.columns);
      const column = inStep % grid.columns;
      const time = grid.time(token);
      this.#write(base + time, base + row, base + column);
      highest = Math.max(highest, time, row, column);
    }
    if (to > from) this.#ended(base + highest);
  }

  finish(): { positions: Int32Array; ropeDelta: number } {
    if (this.#index !== this.#length)
      throw new Error(`Wrote ${this.#index} of ${this.#length} positions. This is a bug.`);
    return { positions: this.#positions, ropeDelta: 1 + this.#highest - this.#length };
  }

  #ended(highest: number): void {
    this.next = highest + 1;
    this.#highest = Math.max(this.#highest, highest);
  }

  #write(t: number, h: number, w: number): void {
    this.#positions[this.#index] = t;
    this.#positions[this.#length + this.#index] = h;
    this.#positions[2 * this.#length + this.#index] = w;
    this.#index += 1;
  }
}
