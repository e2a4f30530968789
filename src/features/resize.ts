// The two resizes of the reference: torchvision's antialiased bicubic for video frames, Pillow's bicubic for still
// pictures. They differ by several levels on sharp edges.
import { loadNative, type NativeAddon } from '../base/native.ts';
import type { FrameSize } from '../media/sampling.ts';

/** [height, width, 3]: bytes are clamped and rounded half to even, floats keep the exact sums */
export type PixelBuffer = Uint8Array | Float32Array;

/** Functions of the native addon that features/ uses. Where one is missing, its TypeScript version runs instead. */
export type PixelKernels = Partial<Pick<NativeAddon, 'resizeFrame' | 'cutPatches'>>;

/** Resizes one frame, [source height, source width, 3] u8, into `target`, [target height, target width, 3]. */
export type Resizer = (source: Uint8Array, target: PixelBuffer) => void;

/**
 * The reference's video resize: torchvision v1 antialiased bicubic in float32, horizontal pass first
 * (reference-model.md, Resize). Weights are computed once; one resizer serves every frame of a clip. Into bytes it is
 * the first resize. Into floats it is the second, which the reference neither clamps nor rounds (reference-model.md,
 * Second resize).
 * @param kernels of the addon; `{}` runs the slower TypeScript version
 */
export function createResizer(
  source: FrameSize,
  target: FrameSize,
  kernels: PixelKernels = loadNative() ?? {},
): Resizer {
  const rows = axisTaps(source.height, target.height);
  const columns = axisTaps(source.width, target.width);
  const resize = kernels.resizeFrame ?? resizeFramePortable;
  return (from, to) => {
    // Same size: every weight is 0 or 1, and the reference returns its input.
    if (source.height === target.height && source.width === target.width) to.set(from.subarray(0, to.length));
    else resize(from, source.height, source.width, to, target.height, target.width, rows, columns);
  };
}

/**
 * As createResizer, but where the addon is there the work is done beside the calling thread. Until the promise
 * resolves, both arrays must stay as they are.
 */
export function createAsideResizer(
  source: FrameSize,
  target: FrameSize,
  kernels: PixelKernels = loadNative() ?? {},
): (source: Uint8Array, target: PixelBuffer) => void | Promise<void> {
  const { resizeFrame } = kernels;
  const isSameSize = source.height === target.height && source.width === target.width;
  if (resizeFrame === undefined || isSameSize) return createResizer(source, target, kernels);
  const rows = axisTaps(source.height, target.height);
  const columns = axisTaps(source.width, target.width);
  return (from, to) =>
    new Promise((resolve, reject) => {
      resizeFrame(from, source.height, source.width, to, target.height, target.width, rows, columns, (error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
    });
}

/**
 * Weights of one axis. Target index i has `count[i]` source indices from `start[i]` on; weights are at `i * stride`.
 */
interface AxisTaps {
  readonly start: Int32Array;
  readonly count: Int32Array;
  readonly weights: Float32Array;
  readonly stride: number;
}

const { fround } = Math;

/**
 * Keys' cubic with a = -0.5, as Pillow's and torch's antialiased one. Float32, with fused multiply-add where torch has
 * it.
 */
function cubic(distance: number): number {
  const x = Math.abs(distance);
  // The product is exact in float64, so one fround is one fused multiply-add.
  if (x < 1) return fround(fround(fround(1.5 * x - 2.5) * x) * x + 1);
  if (x < 2) return fround(fround(fround(-0.5 * x + 2.5) * x - 4) * x + 2);
  return 0;
}

/**
 * Weights of `torch.nn.functional.interpolate(mode='bicubic', antialias=True)` for float32 (reference-model.md,
 * Resize), bit for bit as torch 2.x computes them on a CPU with fused multiply-add. Source: torch's
 * `_compute_indices_min_size_weights_aa`, where float32 values meet float64 literals.
 * @returns taps that stay inside 0..sourceSize-1, starts ascending, weights summing to 1
 */
export function axisTaps(sourceSize: number, targetSize: number): AxisTaps {
  const scale = fround(sourceSize / targetSize);
  const support = scale >= 1 ? fround(2 * scale) : 2;
  const inverse = scale >= 1 ? fround(1 / scale) : 1;
  const stride = Math.ceil(support) * 2 + 1;
  const taps: AxisTaps = {
    start: new Int32Array(targetSize),
    count: new Int32Array(targetSize),
    weights: new Float32Array(targetSize * stride),
    stride,
  };
  for (let index = 0; index < targetSize; index++) {
    const centre = fround(scale * (index + 0.5));
    const first = Math.max(Math.trunc(fround(centre - support) + 0.5), 0);
    const end = Math.min(Math.trunc(fround(centre + support) + 0.5), sourceSize);
    const weights = taps.weights.subarray(index * stride, index * stride + end - first);
    let total = 0;
    for (let tap = 0; tap < weights.length; tap++) {
      const weight = cubic(fround((fround(first + tap - centre) + 0.5) * inverse));
      weights[tap] = weight;
      total = fround(total + weight);
    }
    for (let tap = 0; tap < weights.length; tap++) weights[tap] = (weights[tap] ?? 0) / total;
    taps.start[index] = first;
    taps.count[index] = end - first;
  }
  return taps;
}

/** The TypeScript version of native/resize.cc; slower, with the same sums in the same order, so the same bits. */
function resizeFramePortable(
  source: Uint8Array,
  sourceHeight: number,
  sourceWidth: number,
  target: PixelBuffer,
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
        const sum = weigh(source, from + channel, 3, columns.weights, x * columns.stride, count);
        narrow[y * line + x * 3 + channel] = sum;
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

/** One output value: torch adds groups of four taps with two roundings each, the rest fused (see native/resize.cc). */
function weigh(
  values: PixelBuffer,
  from: number,
  step: number,
  weights: Float32Array,
  at: number,
  count: number,
): number {
  const grouped = Math.trunc((count - 1) / 4) * 4;
  let sum = fround((values[from] ?? 0) * (weights[at] ?? 0));
  let tap = 1;
  for (; tap <= grouped; tap++) sum = fround(sum + fround((values[from + tap * step] ?? 0) * (weights[at + tap] ?? 0)));
  for (; tap < count; tap++) sum = fround((values[from + tap * step] ?? 0) * (weights[at + tap] ?? 0) + sum);
  return sum;
}

/** Clamped and rounded half to even. */
function toByte(value: number): number {
  const clamped = Math.min(Math.max(value, 0), 255);
  const floor = Math.floor(clamped);
  const rest = clamped - floor;
  if (rest !== 0.5) return rest > 0.5 ? floor + 1 : floor;
  return floor + (floor % 2);
}

// Still pictures: integer arithmetic with bytes between the passes.

/** Pillow's Resample.c: 32 bits, less 8 of the pixel, less 2 of headroom. */
const PRECISION_BITS = 32 - 8 - 2;
const HALF = 1 << (PRECISION_BITS - 1);

interface FixedTaps {
  readonly start: Int32Array;
  readonly count: Int32Array;
  readonly weights: Int32Array;
  readonly stride: number;
}

function pillowCubic(distance: number): number {
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
      pillowCubic((tap + first - centre + 0.5) * (1 / filterScale)),
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
