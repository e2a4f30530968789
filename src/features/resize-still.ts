// The resize of still pictures: Pillow's bicubic, integer arithmetic with bytes between the passes. Videos have
// torch's, in resize.ts; the two differ by several levels on sharp edges.
import type { FrameSize } from '../media/sampling.ts';

/** Pillow's Resample.c: 32 bits, less 8 of the pixel, less 2 of headroom. */
const PRECISION_BITS = 32 - 8 - 2;
const HALF = 1 << (PRECISION_BITS - 1);

interface FixedTaps {
  readonly start: Int32Array;
  readonly count: Int32Array;
  readonly weights: Int32Array;
  readonly stride: number;
}

function cubic(distance: number): number {
  const x = Math.abs(distance);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * -0.5;
  return 0;
}

/** Pillow's `precompute_coeffs` and `normalize_coeffs_8bpc`: float64 weights, rounded to 22 bits. */
function fixedTaps(sourceSize: number, targetSize: number): FixedTaps {
  const scale = sourceSize / targetSize;
  const filterScale = Math.max(scale, 1);
  const support = 2 * filterScale;
  const stride = Math.ceil(support) * 2 + 1;
  const start = new Int32Array(targetSize);
  const count = new Int32Array(targetSize);
  const fixedWeights = new Int32Array(targetSize * stride);
  for (let index = 0; index < targetSize; index++) {
    const centre = (index + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - support + 0.5), 0);
    const end = Math.min(Math.trunc(centre + support + 0.5), sourceSize);
    const weights = Array.from({ length: end - first }, (_, tap) =>
      cubic((tap + first - centre + 0.5) * (1 / filterScale)),
    );
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    weights.forEach((weight, tap) => {
      const fixed = (weight / total) * (1 << PRECISION_BITS);
      fixedWeights[index * stride + tap] = Math.trunc(fixed + (fixed < 0 ? -0.5 : 0.5));
    });
    start[index] = first;
    count[index] = end - first;
  }
  return { start, count, weights: fixedWeights, stride };
}

/** In array elements: from one source value to the next, from one line to the next, and the same in the target. */
interface Strides {
  readonly tap: number;
  readonly line: number;
  readonly out: number;
  readonly outLine: number;
}

/** One pass along one axis of `lines` lines. */
function pass(source: Uint8Array, target: Uint8Array, taps: FixedTaps, lines: number, strides: Strides): void {
  const { start, count, weights, stride } = taps;
  for (let line = 0; line < lines; line++) {
    for (let index = 0; index < start.length; index++) {
      const from = line * strides.line + (start[index] ?? 0) * strides.tap;
      let sum = HALF;
      const taken = count[index] ?? 0;
      for (let tap = 0; tap < taken; tap++)
        sum += (source[from + tap * strides.tap] ?? 0) * (weights[index * stride + tap] ?? 0);
      target[line * strides.outLine + index * strides.out] = Math.min(Math.max(sum >> PRECISION_BITS, 0), 255);
    }
  }
}

/**
 * `PIL.Image.resize(size, BICUBIC)` of an RGB picture, exact (reference-model.md, Still pictures).
 * @param source [source height, source width, 3]
 * @returns [target height, target width, 3]
 */
export function resizeStill(source: Uint8Array, from: FrameSize, to: FrameSize): Uint8Array {
  let pixels = source;
  let { width } = from;
  if (to.width !== from.width) {
    const target = new Uint8Array(from.height * to.width * 3);
    const taps = fixedTaps(from.width, to.width);
    const strides = { tap: 3, line: from.width * 3, out: 3, outLine: to.width * 3 };
    for (let channel = 0; channel < 3; channel++)
      pass(source.subarray(channel), target.subarray(channel), taps, from.height, strides);
    pixels = target;
    width = to.width;
  }
  if (to.height === from.height) return pixels;
  const target = new Uint8Array(to.height * width * 3);
  const line = width * 3;
  pass(pixels, target, fixedTaps(from.height, to.height), line, { tap: line, line: 1, out: line, outLine: 1 });
  return target;
}
