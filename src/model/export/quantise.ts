// Block-wise symmetric quantisation as com.microsoft.MatMulNBits reads it (onnxruntime.md 1.2): block b of a row has one
// scale s and stores q = round(w / s) + 2^(bits-1) in `bits` bits, low nibble = even column; w ≈ (q - 2^(bits-1)) * s.

/** Columns that share one scale. */
export const BLOCK_SIZE = 32;

export type QuantisedBits = 4 | 8;

/** Blocks in a row of `k` columns; the last one is padded with zeros. */
export function blocksOf(k: number): number {
  return Math.ceil(k / BLOCK_SIZE);
}

/** Bytes of the packed weights and of the scales of an [n, k] matrix. */
export function quantisedBytes(
  n: number,
  k: number,
  bits: QuantisedBits,
): { readonly packed: number; readonly scales: number } {
  const blocks = n * blocksOf(k);
  return { packed: (blocks * BLOCK_SIZE * bits) / 8, scales: blocks * 4 };
}

/** The value of a block that lies furthest from zero, with its sign. */
function furthest(values: Float32Array, from: number, to: number): number {
  let most = 0;
  let least = 0;
  for (let index = from; index < to; index++) {
    const value = values[index] as number;
    if (value > most) most = value;
    else if (value < least) least = value;
  }
  return most > -least ? most : least;
}

/**
 * Squared error of a 4-bit block under `scale`. (x | 0) of a positive x rounds down, so adding 8.5 before it rounds to
 * nearest; only the top can overflow, since both candidate scales reach the furthest value.
 */
function squaredError(values: Float32Array, from: number, to: number, scale: number): number {
  const inverse = 1 / scale;
  let sum = 0;
  for (let index = from; index < to; index++) {
    const value = values[index] as number;
    let q = (value * inverse + 8.5) | 0;
    if (q > 15) q = 15;
    const error = value - (q - 8) * scale;
    sum += error * error;
  }
  return sum;
}

/**
 * onnxruntime's own convention gives the furthest value the code -8, all 16 codes used and it exact; dividing by 7
 * keeps both ends. Neither is always better, so the smaller error decides, block by block.
 */
function scale4(values: Float32Array, from: number, to: number, peak: number): number {
  const lopsided = Math.fround(peak / -8);
  const even = Math.fround(Math.abs(peak) / 7);
  return squaredError(values, from, to, even) < squaredError(values, from, to, lopsided) ? even : lopsided;
}

function pack4(values: Float32Array, from: number, to: number, scale: number, packed: Uint8Array, at: number): void {
  const inverse = 1 / scale;
  for (let index = from; index < to; index += 2, at++) {
    let low = ((values[index] as number) * inverse + 8.5) | 0;
    let high = index + 1 < to ? ((values[index + 1] as number) * inverse + 8.5) | 0 : 8;
    if (low > 15) low = 15;
    if (high > 15) high = 15;
    packed[at] = low | (high << 4);
  }
}

function pack8(values: Float32Array, from: number, to: number, scale: number, packed: Uint8Array, at: number): void {
  const inverse = 1 / scale;
  for (let index = from; index < to; index++, at++) {
    const q = ((values[index] as number) * inverse + 128.5) | 0;
    packed[at] = q > 255 ? 255 : q;
  }
}

/** A scale so small that its reciprocal is not finite would turn zeros into NaN: such a block is zero. */
const SMALLEST_PEAK = 1e-36;

/**
 * Quantises whole rows.
 * @param values [rows, k] f32
 * @param packed [rows, blocks, 32 * bits / 8], overwritten
 * @param scales [rows, blocks] f32, overwritten
 * @returns false when a weight is infinite, so that no scale can hold it
 */
export function quantiseRows(
  values: Float32Array,
  k: number,
  bits: QuantisedBits,
  packed: Uint8Array,
  scales: Float32Array,
): boolean {
  const zero = bits === 4 ? 0x88 : 0x80;
  const blockBytes = (BLOCK_SIZE * bits) / 8;
  packed.fill(zero);
  let block = 0;
  for (let row = 0; row < values.length; row += k) {
    for (let from = row; from < row + k; from += BLOCK_SIZE, block++) {
      const to = Math.min(from + BLOCK_SIZE, row + k);
      const peak = furthest(values, from, to);
      if (peak < SMALLEST_PEAK && peak > -SMALLEST_PEAK) {
        scales[block] = 0;
        continue;
      }
      const scale = bits === 4 ? scale4(values, from, to, peak) : Math.fround(Math.abs(peak) / 127);
      if (!Number.isFinite(scale)) return false;
      scales[block] = scale;
      if (bits === 4) pack4(values, from, to, scale, packed, block * blockBytes);
      else pack8(values, from, to, scale, packed, block * blockBytes);
    }
  }
  return true;
}
