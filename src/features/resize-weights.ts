// Antialiased bicubic weights of one axis, bit for bit as torch 2.x computes them on a CPU with fused multiply-add.

/** For each target index: `count` source indices from `start` on; their weights lie at `index * stride`. */
export interface AxisTaps {
  readonly start: Int32Array;
  readonly count: Int32Array;
  readonly weights: Float32Array;
  readonly stride: number;
}

const { fround } = Math;

/** Keys' cubic with a = -0.5 (Pillow's and torch's antialiased one), float32 with torch's fused steps. */
function cubic(distance: number): number {
  const x = Math.abs(distance);
  // The product is exact in float64, so one fround is one fused multiply-add.
  if (x < 1) return fround(fround(fround(1.5 * x - 2.5) * x) * x + 1);
  if (x < 2) return fround(fround(fround(-0.5 * x + 2.5) * x - 4) * x + 2);
  return 0;
}

/**
 * Weights of `torch.nn.functional.interpolate(mode='bicubic', antialias=True)` for float32 (reference-model 3.4;
 * torch's `_compute_indices_min_size_weights_aa`, where float32 values meet float64 literals).
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
