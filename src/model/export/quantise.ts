// Block-wise symmetric quantisation as com.microsoft.MatMulNBits reads it (onnxruntime.md, MatMulNBits). Each block of
// a row has one scale s and stores q = round(w / s) + 2^(bits-1) in `bits` bits, low nibble = even column, so that
// w ≈ (q - 2^(bits-1)) * s. A scale is rounded to its stored type before weights are divided by it. The default export
// is the task of the quantising threads: some rows of one matrix, from the checkpoint file to their place in
// weights.bin.
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import type { ErrorCode } from '../../base/errors.ts';
import { decodeValues, STORED_BYTES, type StoredDType } from '../checkpoint/weights.ts';

/** How a matrix is quantised. */
export interface QuantisedFormat {
  readonly bits: 4 | 8;
  /** columns that share one scale */
  readonly blockSize: number;
  readonly scaleType: 'F32' | 'BF16';
}

/** Blocks in a row of `k` columns; the last one is padded with zeros. */
export function blocksOf(k: number, { blockSize }: Pick<QuantisedFormat, 'blockSize'>): number {
  return Math.ceil(k / blockSize);
}

/** Bytes of the packed weights and of the scales of an [n, k] matrix. */
export function quantisedBytes(
  n: number,
  k: number,
  format: QuantisedFormat,
): { readonly packed: number; readonly scales: number } {
  const blocks = n * blocksOf(k, format);
  return {
    packed: (blocks * format.blockSize * format.bits) / 8,
    scales: blocks * STORED_BYTES[format.scaleType],
  };
}

const one = new Float32Array(1);
const oneBits = new Uint32Array(one.buffer);

/** The nearest bfloat16, to even. */
function roundToBfloat16(value: number): number {
  one[0] = value;
  const bits = oneBits[0] as number;
  oneBits[0] = (bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000;
  return one[0];
}

const ROUND = { F32: Math.fround, BF16: roundToBfloat16 };

/** The value of a block with the largest magnitude, with its sign. */
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
 * Squared error of a 4-bit block with this scale. (x | 0) rounds a positive x down, so adding 8.5 first rounds to
 * nearest. Only the upper end can overflow, since both candidate scales reach the value with the largest magnitude.
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
 * The better of two scales for a 4-bit block. onnxruntime's own rule (peak / -8) maps the peak to code -8: it is exact
 * and all 16 codes are used. Dividing by 7 covers both ends equally. Neither is always better, so the smaller squared
 * error decides for each block.
 */
function scale4(
  values: Float32Array,
  from: number,
  to: number,
  peak: number,
  round: (scale: number) => number,
): number {
  const asymmetric = round(peak / -8);
  const even = round(Math.abs(peak) / 7);
  return squaredError(values, from, to, even) < squaredError(values, from, to, asymmetric) ? even : asymmetric;
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

/** Below this peak the reciprocal of the scale would not be finite and zeros would become NaN: store zeros instead. */
const SMALLEST_PEAK = 1e-36;

/**
 * Quantises whole rows.
 * @param values [rows, k] f32
 * @param packed [rows, blocks, blockSize * bits / 8], overwritten
 * @param scales [rows, blocks] f32, overwritten with numbers that the format's type of scales has
 * @returns false when a weight is infinite: no scale can represent it
 */
export function quantiseRows(
  values: Float32Array,
  k: number,
  { bits, blockSize, scaleType }: QuantisedFormat,
  packed: Uint8Array,
  scales: Float32Array,
): boolean {
  const zero = bits === 4 ? 0x88 : 0x80;
  const blockBytes = (blockSize * bits) / 8;
  const round = ROUND[scaleType];
  packed.fill(zero);
  let block = 0;
  for (let row = 0; row < values.length; row += k) {
    for (let from = row; from < row + k; from += blockSize, block++) {
      const to = Math.min(from + blockSize, row + k);
      const peak = furthest(values, from, to);
      if (peak < SMALLEST_PEAK && peak > -SMALLEST_PEAK) {
        scales[block] = 0;
        continue;
      }
      const scale = bits === 4 ? scale4(values, from, to, peak, round) : round(Math.abs(peak) / 127);
      if (!Number.isFinite(scale)) return false;
      scales[block] = scale;
      if (bits === 4) pack4(values, from, to, scale, packed, block * blockBytes);
      else pack8(values, from, to, scale, packed, block * blockBytes);
    }
  }
  return true;
}

/** Consecutive rows of one matrix to quantise. Offsets are bytes in `source` and `target`. */
export interface QuantiseTask {
  readonly name: string;
  readonly source: string;
  readonly sourceOffset: number;
  readonly dtype: StoredDType;
  readonly rows: number;
  readonly k: number;
  readonly format: QuantisedFormat;
  readonly target: string;
  readonly packedOffset: number;
  readonly scalesOffset: number;
}

/** An error as a value: an exception would lose its code on the way out of the thread. */
export interface QuantiseFailure {
  readonly code: ErrorCode;
  readonly message: string;
  /** errno name, such as ENOSPC */
  readonly errno?: string | undefined;
}

function readAll(path: string, bytes: number, offset: number): Uint8Array<ArrayBuffer> | undefined {
  const buffer = new Uint8Array(bytes);
  const file = openSync(path, 'r');
  try {
    for (let at = 0; at < bytes;) {
      const read = readSync(file, buffer, at, bytes - at, offset + at);
      if (read === 0) return undefined;
      at += read;
    }
    return buffer;
  } finally {
    closeSync(file);
  }
}

function writeAll(file: number, bytes: Uint8Array, offset: number): void {
  for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at, bytes.length - at, offset + at);
}

/** The scales' bytes. A bfloat16 is the upper half of the float32 with the same value. */
function storedScales(scales: Float32Array<ArrayBuffer>, { scaleType }: QuantisedFormat): Uint8Array {
  if (scaleType === 'F32') return new Uint8Array(scales.buffer);
  const halves = Uint16Array.from(new Uint32Array(scales.buffer), (bits) => bits >>> 16);
  return new Uint8Array(halves.buffer);
}

function quantiseInFiles(task: QuantiseTask): QuantiseFailure | undefined {
  const stored = readAll(task.source, task.rows * task.k * STORED_BYTES[task.dtype], task.sourceOffset);
  if (stored === undefined)
    return {
      code: 'checkpoint_invalid',
      message: `${task.source} ended before tensor ${task.name}: download this file again.`,
    };
  const values = new Float32Array(task.rows * task.k);
  decodeValues(stored, task.dtype, values);
  const size = quantisedBytes(task.rows, task.k, task.format);
  const packed = new Uint8Array(size.packed);
  const scales = new Float32Array(size.scales / STORED_BYTES[task.format.scaleType]);
  if (!quantiseRows(values, task.k, task.format, packed, scales)) {
    return {
      code: 'tensor_invalid',
      message: `Tensor ${task.name} in ${task.source} holds infinite weights: the checkpoint is damaged.`,
    };
  }
  const file = openSync(task.target, 'r+');
  try {
    writeAll(file, packed, task.packedOffset);
    writeAll(file, storedScales(scales, task.format), task.scalesOffset);
  } finally {
    closeSync(file);
  }
  return undefined;
}

/** Quantises rows of one matrix into `target`, which must exist. Synchronous. @returns what went wrong, or undefined */
export default function quantiseTask(task: QuantiseTask): QuantiseFailure | undefined {
  try {
    return quantiseInFiles(task);
  } catch (thrown) {
    const error = thrown as NodeJS.ErrnoException;
    return {
      code: 'export_incomplete',
      message: `Quantising ${task.name} failed: ${error.message}.`,
      errno: error.code,
    };
  }
}
