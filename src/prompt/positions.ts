// The position of each token in time, height and width (reference-model.md, Positions (TMRoPE)). Pure; follows the
// reference exactly.
import {
  chunkEnds,
  forEachChunk,
  hasSound,
  mediaTokenCounts,
  positionsPerChunk,
  tokensPerStep,
  type LayoutConfig,
} from './layout.ts';
import type { MediaTokens } from './types.ts';

/** A prompt as the positions see it: stretches of text, and media items with their boundary tokens. */
export type PromptPart =
  { readonly kind: 'text'; readonly length: number } | { readonly kind: 'media'; readonly media: MediaTokens };

/** Merged tokens of frames, row-major in (step, row, column). */
class VisualGrid {
  readonly tokens: number;
  readonly columns: number;
  readonly perStep: number;
  readonly #stepTimes: Float64Array;

  /** @param start seconds of the first step */
  constructor(
    gridThw: readonly [number, number, number],
    secondPerGrid: number,
    config: LayoutConfig,
    start: number | undefined = 0,
  ) {
    this.columns = gridThw[2] / config.vision.mergeSize;
    this.perStep = tokensPerStep(gridThw, config.vision.mergeSize);
    this.tokens = gridThw[0] * this.perStep;
    // float32 throughout, then truncated: torch multiplies the step by second_per_grid first.
    const seconds = Math.fround(secondPerGrid);
    const timeOf = (step: number): number =>
      Math.fround(Math.fround(start + step * seconds) * config.positionIdPerSeconds);
    this.#stepTimes = Float64Array.from({ length: gridThw[0] }, (_, step) => Math.trunc(timeOf(step)));
  }

  /** Position of a token's temporal step, relative to the start of the media. */
  time(token: number): number {
    return this.#stepTimes[Math.floor(token / this.perStep)] ?? 0;
  }
}

/** Walks over a prompt from left to right, and writes its [3, length] positions where it has an array for them. */
class PositionWriter {
  /** 1 + highest position of the stretch written last */
  next = 0;
  readonly #positions: Int32Array | undefined;
  readonly #length: number;
  #index = 0;
  #highest = -1;

  constructor(length: number, positions?: Int32Array) {
    this.#length = length;
    this.#positions = positions;
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

  /** @returns 1 + the highest position */
  finish(): number {
    if (this.#index !== this.#length)
      throw new Error(`Wrote ${this.#index} of ${this.#length} positions. This is a bug.`);
    return 1 + this.#highest;
  }

  #ended(highest: number): void {
    this.next = highest + 1;
    this.#highest = Math.max(this.#highest, highest);
  }

  #write(t: number, h: number, w: number): void {
    const index = this.#index++;
    if (this.#positions === undefined) return;
    this.#positions[index] = t;
    this.#positions[this.#length + index] = h;
    this.#positions[2 * this.#length + index] = w;
  }
}

/**
 * Positions of a whole prompt.
 * @returns positions [3, length] t, h, w; ropeDelta = 1 + highest position - length
 */
export function tmropePositions(
  parts: readonly PromptPart[],
  config: LayoutConfig,
): { positions: Int32Array; ropeDelta: number } {
  const length = lengthOf(parts, config);
  const positions = new Int32Array(3 * length);
  return { positions, ropeDelta: walk(parts, config, new PositionWriter(length, positions)) - length };
}

/** 1 + the highest position of a prompt, without its positions. */
export function positionSpan(parts: readonly PromptPart[], config: LayoutConfig): number {
  return walk(parts, config, new PositionWriter(lengthOf(parts, config)));
}

function walk(parts: readonly PromptPart[], config: LayoutConfig, writer: PositionWriter): number {
  for (const part of parts) {
    if (part.kind === 'text') writer.text(part.length);
    else writeMedia(writer, part.media, config);
  }
  return writer.finish();
}

function lengthOf(parts: readonly PromptPart[], config: LayoutConfig): number {
  return parts.reduce((sum, part) => {
    if (part.kind === 'text') return sum + part.length;
    const { video, image, audio, boundaries } = mediaTokenCounts(part.media, config);
    return sum + video + image + audio + boundaries;
  }, 0);
}

function writeMedia(writer: PositionWriter, media: MediaTokens, config: LayoutConfig): void {
  switch (media.kind) {
    case 'audio':
      writer.text(media.audioTokens + 2);
      return;
    case 'image':
      writer.text(1);
      writer.visual(new VisualGrid(media.gridThw, 0, config), writer.next);
      writer.text(1);
      return;
    case 'video': {
      const start = hasSound(media) ? media.startSeconds : undefined;
      const grid = new VisualGrid(media.gridThw, media.secondPerGrid, config, start);
      writer.text(1);
      if (hasSound(media)) writeInterleaved(writer, grid, media.audioTokens, positionsPerChunk(config));
      else {
        writer.visual(grid, writer.next);
        writer.text(1);
      }
      return;
    }
    default:
      media satisfies never;
  }
}

/**
 * From audio start to vision end. Both start tokens share a position. So do both end tokens: the one after the last
 * chunk, even where an earlier position is higher.
 */
function writeInterleaved(writer: PositionWriter, grid: VisualGrid, audioTokens: number, chunk: number): void {
  writer.repeatLast();
  const base = writer.next;
  const videoEnds = chunkEnds(grid.tokens, (token) => grid.time(token), chunk);
  const audioEnds = chunkEnds(audioTokens, (token) => token, chunk);
  forEachChunk(videoEnds, audioEnds, (kind, from, to) => {
    if (kind === 'video') writer.visual(grid, base, from, to);
    else writer.sequence(base + from, to - from);
  });
  writer.text(1);
  writer.repeatLast();
}
