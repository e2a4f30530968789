import type { StoredDType } from './weights.ts';

/** Bytes of one stored element. */
export const STORED_BYTES: Readonly<Record<StoredDType, number>> = { F32: 4, F16: 2, BF16: 2, U8: 1 };

function halfToFloat(half: number): number {
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  const sign = half & 0x8000 ? -1 : 1;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

let halves: Float32Array | undefined;

/** All 65,536 half floats, made at first use: a look-up is faster than arithmetic on every weight. */
function halfTable(): Float32Array {
  halves ??= Float32Array.from({ length: 65_536 }, (_, half) => halfToFloat(half));
  return halves;
}

/**
 * Stored bytes as numbers, exactly.
 * @param bytes little-endian elements of `dtype`, starting at a multiple of their size in its buffer
 * @param values as many f32, overwritten
 */
export function decodeValues(
  bytes: Uint8Array<ArrayBuffer>,
  dtype: StoredDType,
  values: Float32Array<ArrayBuffer>,
): void {
  switch (dtype) {
    case 'F32':
      values.set(new Float32Array(bytes.buffer, bytes.byteOffset, values.length));
      return;
    case 'BF16': {
      const words = new Uint16Array(bytes.buffer, bytes.byteOffset, values.length);
      const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
      for (let index = 0; index < words.length; index++) bits[index] = (words[index] as number) << 16;
      return;
    }
    case 'F16': {
      const words = new Uint16Array(bytes.buffer, bytes.byteOffset, values.length);
      const table = halfTable();
      for (let index = 0; index < words.length; index++) values[index] = table[words[index] as number] as number;
      return;
    }
    case 'U8':
      throw new Error('U8 tensors hold packed weights, not values. This is a bug.');
    default:
      dtype satisfies never;
  }
}
