// The slow twin of native/resize.cc: the same sums in the same order, hence the same bits.
import type { Pixels } from './resize.ts';
import type { AxisTaps } from './resize-weights.ts';

const { fround } = Math;

/** Clamped and rounded half to even. */
function toByte(value: number): number {
  const clamped = Math.min(Math.max(value, 0), 255);
  const floor = Math.floor(clamped);
  const rest = clamped - floor;
  if (rest !== 0.5) return rest > 0.5 ? floor + 1 : floor;
  return floor + (floor % 2);
}

/** One output value: torch adds groups of four taps with two roundings each, the rest fused (see native/resize.cc). */
function weigh(values: Pixels, from: number, step: number, weights: Float32Array, at: number, count: number): number {
  const apart = Math.trunc((count - 1) / 4) * 4;
  let sum = fround((values[from] ?? 0) * (weights[at] ?? 0));
  let tap = 1;
  for (; tap <= apart; tap++) sum = fround(sum + fround((values[from + tap * step] ?? 0) * (weights[at + tap] ?? 0)));
  for (; tap < count; tap++) sum = fround((values[from + tap * step] ?? 0) * (weights[at + tap] ?? 0) + sum);
  return sum;
}

/** Arguments as `resizeFrame` of the addon. */
export function resizeFramePortable(
  source: Uint8Array,
  sourceHeight: number,
  sourceWidth: number,
  target: Pixels,
  targetHeight: number,
  targetWidth: number,
  rows: AxisTaps,
  columns: AxisTaps,
): void {
  const line = targetWidth * 3;
  const narrow = new Float32Array(sourceHeight * line); // [source height, target width, 3]
  for (let y = 0; y < sourceHeight; y++) {
    for (let x = 0; x < targetWidth; x++) {
      const from = (y * sourceWidth + (columns.start[x] ?? 0)) * 3;
      const count = columns.count[x] ?? 0;
      for (let channel = 0; channel < 3; channel++) {
        narrow[y * line + x * 3 + channel] = weigh(
          source,
          from + channel,
          3,
          columns.weights,
          x * columns.stride,
          count,
        );
      }
    }
  }
  const bytes = target instanceof Uint8Array;
  for (let y = 0; y < targetHeight; y++) {
    const from = (rows.start[y] ?? 0) * line;
    const count = rows.count[y] ?? 0;
    for (let i = 0; i < line; i++) {
      const sum = weigh(narrow, from + i, line, rows.weights, y * rows.stride, count);
      target[y * line + i] = bytes ? toByte(sum) : sum;
    }
  }
}
