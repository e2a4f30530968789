// The inputs of the towers' graphs besides the features themselves: the order and windows of one temporal step for the
// vision tower, and the chunks of a spectrogram for the audio tower (reference-model.md, Vision tower and Audio tower).
import type { VisionConfig } from '../checkpoint/config-types.ts';
import { visionRopeTables } from '../graphs/rope-tables.ts';

/**
 * The vision graph's inputs for one step of gridH x gridW patches. In the window layers, rows see each other only
 * inside a window of at most 4x4 merged groups, clipped at the right and bottom; rows are kept in window order.
 */
export interface StepLayout {
  /** [groups] the processor's group at each place of the window order, and the inverse */
  readonly groupOrder: BigInt64Array<ArrayBuffer>;
  readonly groupBack: BigInt64Array<ArrayBuffer>;
  /** [rows, headDim / 2] in window order */
  readonly cos: Float32Array<ArrayBuffer>;
  readonly sin: Float32Array<ArrayBuffer>;
  /** rows of the longest window */
  readonly longest: number;
  /** [windows] rows of each window */
  readonly windowLengths: Int32Array<ArrayBuffer>;
  /** [windows, longest] rows in window order, padded with the window's first row */
  readonly windowRows: BigInt64Array<ArrayBuffer>;
  /** [rows] index of each row among the padded rows */
  readonly windowBack: BigInt64Array<ArrayBuffer>;
}

/** Groups of each window: windows row by row, and inside each window groups row by row. */
export function windowGroups(groupsHigh: number, groupsWide: number, side: number): number[][] {
  const windows: number[][] = [];
  for (let top = 0; top < groupsHigh; top += side) {
    for (let left = 0; left < groupsWide; left += side) {
      const groups: number[] = [];
      for (let y = top; y < Math.min(top + side, groupsHigh); y += 1) {
        for (let x = left; x < Math.min(left + side, groupsWide); x += 1) groups.push(y * groupsWide + x);
      }
      windows.push(groups);
    }
  }
  return windows;
}

function inverse(order: readonly number[]): BigInt64Array<ArrayBuffer> {
  const back = new BigInt64Array(order.length);
  order.forEach((from, to) => (back[from] = BigInt(to)));
  return back;
}

/** Computes the tables of a step of gridH x gridW patches (both multiples of mergeSize). */
export function stepLayout(vision: VisionConfig, gridH: number, gridW: number): StepLayout {
  const { mergeSize, patchSize, windowSize, headDim } = vision;
  const unit = mergeSize ** 2;
  const groupsWide = gridW / mergeSize;
  const side = Math.floor(Math.floor(windowSize / mergeSize) / patchSize);
  const windows = windowGroups(gridH / mergeSize, groupsWide, side);
  const order = windows.flat();
  const longest = windows.reduce((most, groups) => Math.max(most, groups.length), 0) * unit;
  const windowRows = new BigInt64Array(windows.length * longest);
  const windowBack = new BigInt64Array(gridH * gridW);
  let start = 0;
  windows.forEach((groups, window) => {
    const length = groups.length * unit;
    for (let place = 0; place < longest; place += 1)
      windowRows[window * longest + place] = BigInt(place < length ? start + place : start);
    for (let place = 0; place < length; place += 1) windowBack[start + place] = BigInt(window * longest + place);
    start += length;
  });
  // Row r of a group is its patch (r div merge, r mod merge).
  const inGroup = Array.from({ length: unit }, (_, row) => ({ y: Math.floor(row / mergeSize), x: row % mergeSize }));
  const y = Int32Array.from(
    order.flatMap((group) => inGroup.map((patch) => Math.floor(group / groupsWide) * mergeSize + patch.y)),
  );
  const x = Int32Array.from(
    order.flatMap((group) => inGroup.map((patch) => (group % groupsWide) * mergeSize + patch.x)),
  );
  const windowLengths = Int32Array.from(windows, (groups) => groups.length * unit);
  const { cos, sin } = visionRopeTables(headDim, y, x);
  const groupOrder = BigInt64Array.from(order, BigInt);
  return { groupOrder, groupBack: inverse(order), cos, sin, longest, windowLengths, windowRows, windowBack };
}

/** The audio graph's inputs for one run. */
export interface AudioChunks {
  readonly chunks: number;
  /** frames of the longest chunk; a shorter chunk is zero beyond its end */
  readonly frames: number;
  /** positions of the longest chunk after the second convolution */
  readonly positions: number;
  /** [chunks, bins, frames] */
  readonly mel: Float32Array<ArrayBuffer>;
  /** [chunks, 1, frames] 1 = a real frame */
  readonly frameMask: Float32Array<ArrayBuffer>;
  /** [chunks] real positions after the second convolution */
  readonly chunkLengths: Int32Array<ArrayBuffer>;
  /** [tokens] the two rows of [chunks · positions] averaged into each token; an odd last position is dropped */
  readonly pairFirst: BigInt64Array<ArrayBuffer>;
  readonly pairSecond: BigInt64Array<ArrayBuffer>;
}

/** Positions that the convolution of stride 2 makes of `frames` mel frames. */
export function strided(frames: number): number {
  return Math.ceil(frames / 2);
}

/** Tokens of `frames` mel frames: each chunk is strided on its own, then pairs of positions are averaged. */
export function audioTokens(frames: number, chunkFrames: number): number {
  const whole = Math.floor(frames / chunkFrames);
  return Math.floor((whole * strided(chunkFrames) + strided(frames - whole * chunkFrames)) / 2);
}

/**
 * Cuts the frames [from, to) of a spectrogram into chunks.
 * @param mel [bins, total], bins outermost
 * @param padTo so many chunks of full length: those beyond the end are zeros and give no tokens
 */
export function audioChunks(
  mel: Float32Array,
  total: number,
  bins: number,
  chunkFrames: number,
  from: number,
  to: number,
  padTo?: number,
): AudioChunks {
  const chunks = padTo ?? Math.ceil((to - from) / chunkFrames);
  const frames = padTo === undefined ? Math.min(chunkFrames, to - from) : chunkFrames;
  const packed = new Float32Array(chunks * bins * frames);
  const frameMask = new Float32Array(chunks * frames);
  const positions = strided(frames);
  // Attention over no positions at all is not defined, so a chunk of zeros keeps its length.
  const chunkLengths = new Int32Array(chunks).fill(positions);
  const rows: bigint[] = [];
  for (let chunk = 0; from + chunk * chunkFrames < to; chunk += 1) {
    const start = from + chunk * chunkFrames;
    const length = Math.min(chunkFrames, to - start);
    for (let bin = 0; bin < bins; bin += 1) {
      packed.set(mel.subarray(bin * total + start, bin * total + start + length), (chunk * bins + bin) * frames);
    }
    frameMask.fill(1, chunk * frames, chunk * frames + length);
    chunkLengths[chunk] = strided(length);
    for (let position = 0; position < strided(length); position += 1) rows.push(BigInt(chunk * positions + position));
  }
  const even = rows.slice(0, rows.length - (rows.length % 2));
  return {
    chunks,
    frames,
    positions,
    mel: packed,
    frameMask,
    chunkLengths,
    pairFirst: BigInt64Array.from(even.filter((_, index) => index % 2 === 0)),
    pairSecond: BigInt64Array.from(even.filter((_, index) => index % 2 === 1)),
  };
}
