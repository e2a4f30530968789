// Numbers of 32 or 16 bits, as a device computes with them. JavaScript has no arrays of 16-bit numbers: what holds them
// here are their bits.

export type FloatDType = 'float32' | 'float16' | 'bfloat16';
type HalfDType = Exclude<FloatDType, 'float32'>;

/** Numbers of one FloatDType; those of 16 bits as their bits. */
export type FloatArray = Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer>;

/** Bytes of one number. */
export const FLOAT_BYTES: Readonly<Record<FloatDType, number>> = { float32: 4, float16: 2, bfloat16: 2 };

/** `length` zeros. */
export function newFloats(dtype: FloatDType, length: number): FloatArray {
  return dtype === 'float32' ? new Float32Array(length) : new Uint16Array(length);
}

function halfToFloat(half: number): number {
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  const sign = half & 0x8000 ? -1 : 1;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

let halves: Float32Array | undefined;

/** All 65,536 half floats, computed on first use: a look-up is faster than arithmetic on every number. */
function halfTable(): Float32Array {
  halves ??= Float32Array.from({ length: 65_536 }, (_, half) => halfToFloat(half));
  return halves;
}

/**
 * Converts numbers of 16 bits, without rounding.
 * @param values f32, one per element of `bits`, overwritten
 */
export function widen(bits: Uint16Array, dtype: HalfDType, values: Float32Array<ArrayBuffer>): void {
  if (dtype === 'bfloat16') {
    // A bfloat16 is the upper half of the float32 with the same value.
    const words = new Int32Array(values.buffer, values.byteOffset, values.length);
    for (let index = 0; index < bits.length; index++) words[index] = (bits[index] as number) << 16;
    return;
  }
  const table = halfTable();
  for (let index = 0; index < bits.length; index++) values[index] = table[bits[index] as number] as number;
}

/**
 * The numbers as float32, without rounding.
 * @param room f32, one per element, overwritten and returned unless `floats` are float32 themselves; default: new
 */
export function toFloat32(
  floats: FloatArray,
  dtype: FloatDType,
  room?: Float32Array<ArrayBuffer>,
): Float32Array<ArrayBuffer> {
  if (dtype === 'float32' && floats instanceof Float32Array) return floats;
  if (dtype === 'float32' || floats instanceof Float32Array)
    throw new Error(`Numbers of ${floats.BYTES_PER_ELEMENT} bytes are no ${dtype}. This is a bug.`);
  const values = room ?? new Float32Array(floats.length);
  widen(floats, dtype, values);
  return values;
}
