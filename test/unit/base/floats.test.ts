import { describe, expect, it } from 'vitest';
import { FLOAT_BYTES, newFloats, toFloat32, type FloatDType } from '../../../src/base/floats.ts';
import { narrow } from '../../fixtures/narrow.ts';

const DTYPES: readonly FloatDType[] = ['float32', 'float16', 'bfloat16'];
const ALL_BITS = Uint16Array.from({ length: 65_536 }, (_, bits) => bits);

describe('newFloats', () => {
  it.each(DTYPES)('makes zeros of the size of %s', (dtype) => {
    const zeros = newFloats(dtype, 3);
    expect([zeros.length, zeros.byteLength]).toEqual([3, 3 * FLOAT_BYTES[dtype]]);
    expect([...toFloat32(zeros, dtype)]).toEqual([0, 0, 0]);
  });
});

describe('toFloat32', () => {
  it('gives float32 numbers as they are, and others in the room that it is given', () => {
    const values = Float32Array.of(1, 2);
    expect(toFloat32(values, 'float32')).toBe(values);
    const room = new Float32Array(4);
    expect(toFloat32(Uint16Array.of(0x3f80, 0xc000, 1, 0xff80), 'bfloat16', room)).toBe(room);
    expect([...room]).toEqual([1, -2, 2 ** -133, -Infinity]);
    expect([...toFloat32(Uint16Array.of(0x3c00, 0xc000, 1, 0x7bff, 0xfc00), 'float16')]).toEqual([
      1,
      -2,
      2 ** -24,
      65_504,
      -Infinity,
    ]);
  });

  it.each(['float16', 'bfloat16'] as const)('loses nothing of any %s', (dtype) => {
    const isNumber = (value: number): boolean => !Number.isNaN(value);
    const values = toFloat32(ALL_BITS, dtype);
    const numbers = ALL_BITS.filter((bits) => isNumber(values[bits]!));
    expect(numbers.length).toBeGreaterThan(63_000);
    expect(narrow(values.filter(isNumber), dtype)).toEqual(numbers);
  });

  it('refuses an array of the other kind', () => {
    expect(() => toFloat32(new Float32Array(1), 'bfloat16')).toThrow('4 bytes are no bfloat16. This is a bug.');
    expect(() => toFloat32(new Uint16Array(1), 'float32')).toThrow('2 bytes are no float32. This is a bug.');
  });
});
