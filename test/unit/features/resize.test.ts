import { describe, expect, it } from 'vitest';
import { axisTaps, createAsideResizer, createResizer } from '../../../src/features/resize.ts';
import { loadNative, nativeStatus } from '../../../src/base/native.ts';
import { noise } from '../../fixtures/noise.ts';
import { sameBits } from '../../fixtures/compare-numbers.ts';

const addon = loadNative();
const status = nativeStatus();
if (!status.loaded) console.log(`Kernels are not compared with their twins: ${status.reason}`);

/**
 * source height, source width, target height, target width: shrinking, growing, one axis only, taps of every remainder
 * mod 4
 */
const SIZES = [
  [90, 160, 56, 84],
  [37, 53, 28, 84],
  [61, 40, 112, 28],
  [300, 28, 28, 28],
  [28, 701, 28, 56],
  [5, 3, 28, 56],
  [1, 1, 28, 28],
] as const;

describe('axisTaps', () => {
  it('gives weights that sum to one and stay inside the source', () => {
    for (const [source, target] of [
      [1920, 756],
      [28, 784],
      [100, 100],
      [7, 28],
      [4000, 28],
    ] as const) {
      const { start, count, weights, stride } = axisTaps(source, target);
      for (let index = 0; index < target; index++) {
        const taken = weights.subarray(index * stride, index * stride + count[index]!);
        expect(taken.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 5);
        expect(start[index]).toBeGreaterThanOrEqual(0);
        expect(start[index]! + count[index]!).toBeLessThanOrEqual(source);
      }
    }
  });

  it('copies the source where the size stays', () => {
    const { start, count, weights, stride } = axisTaps(33, 33);
    for (let index = 0; index < 33; index++) {
      const taps = Array.from(
        { length: count[index]! },
        (_, tap) => [start[index]! + tap, weights[index * stride + tap]!] as const,
      );
      expect(taps.filter(([, weight]) => weight !== 0)).toEqual([[index, 1]]);
    }
  });
});

describe('createResizer', () => {
  it.skipIf(addon === undefined).each(SIZES)(
    'gives the same bytes and the same floats in C++ and in TypeScript, %i x %i to %i x %i',
    (...sizes) => {
      const [sourceHeight, sourceWidth, height, width] = sizes;
      const source = noise(sourceHeight * sourceWidth * 3, sizes[0] * 31 + sizes[1]);
      const fast = createResizer({ height: sourceHeight, width: sourceWidth }, { height, width }, addon);
      const slow = createResizer({ height: sourceHeight, width: sourceWidth }, { height, width }, {});
      for (const make of [(length: number) => new Uint8Array(length), (length: number) => new Float32Array(length)]) {
        const [left, right] = [make(height * width * 3), make(height * width * 3)];
        fast(source, left);
        slow(source, right);
        expect(sameBits(left, right)).toBe(true);
      }
    },
  );

  it.skipIf(addon === undefined)('writes into a part of an array and nowhere else', () => {
    const whole = new Uint8Array(28 * 28 * 3 + 200).fill(7);
    const source = new Uint8Array(30 * 30 * 3).fill(200);
    createResizer(
      { height: 30, width: 30 },
      { height: 28, width: 28 },
      addon,
    )(source, whole.subarray(100, 100 + 28 * 28 * 3));
    expect(whole.subarray(0, 100).every((value) => value === 7)).toBe(true);
    expect(whole.subarray(100, -100).every((value) => value === 200)).toBe(true);
    expect(whole.subarray(-100).every((value) => value === 7)).toBe(true);
  });

  it('clamps overshoot in bytes and keeps it in floats', () => {
    const edge = Uint8Array.from({ length: 8 * 8 * 3 }, (_, index) => (Math.trunc(index / 3) % 8 < 4 ? 0 : 255));
    const [bytes, floats] = [new Uint8Array(8 * 32 * 3), new Float32Array(8 * 32 * 3)];
    const resize = createResizer({ height: 8, width: 8 }, { height: 8, width: 32 });
    resize(edge, bytes);
    resize(edge, floats);
    expect(Math.min(...floats)).toBeLessThan(-1);
    expect(Math.max(...floats)).toBeGreaterThan(256);
    expect([Math.min(...bytes), Math.max(...bytes)]).toEqual([0, 255]);
  });

  it.skipIf(addon === undefined)('refuses memory that is too short instead of reading past it', () => {
    const resize = createResizer({ height: 30, width: 30 }, { height: 28, width: 28 }, addon);
    expect(() => {
      resize(new Uint8Array(10), new Uint8Array(28 * 28 * 3));
    }).toThrow(/too short.*bug/);
    expect(() => {
      resize(new Uint8Array(30 * 30 * 3), new Uint8Array(10));
    }).toThrow(/too short.*bug/);
  });
});

describe('createAsideResizer', () => {
  it.skipIf(addon === undefined)('gives the same bytes later, for many frames at once', async () => {
    const [source, target] = [
      { height: 90, width: 160 },
      { height: 28, width: 56 },
    ];
    const [aside, here] = [createAsideResizer(source, target, addon), createResizer(source, target, addon)];
    const frames = Array.from({ length: 20 }, (_, index) => noise(90 * 160 * 3, index));
    const targets = frames.map(() => new Uint8Array(28 * 56 * 3));
    const pending = frames.map((frame, index) => aside(frame, targets[index]!)).filter((it) => it instanceof Promise);
    expect(pending).toHaveLength(20);
    await Promise.all(pending);
    for (const [index, frame] of frames.entries()) {
      const expected = new Uint8Array(28 * 56 * 3);
      here(frame, expected);
      expect(sameBits(targets[index]!, expected)).toBe(true);
    }
  });

  it.skipIf(addon === undefined)('rejects memory that is too short', async () => {
    const resize = createAsideResizer({ height: 30, width: 30 }, { height: 28, width: 28 }, addon);
    await expect(resize(new Uint8Array(10), new Uint8Array(28 * 28 * 3))).rejects.toThrow(/too short.*bug/);
  });

  it('works here without the addon, and where nothing is to be resized', () => {
    const source = noise(28 * 28 * 3, 5);
    const target = new Uint8Array(28 * 28 * 3);
    const size = { height: 28, width: 28 };
    for (const kernels of [{}, addon ?? {}])
      expect(createAsideResizer(size, size, kernels)(source, target)).toBeUndefined();
    expect(sameBits(source, target)).toBe(true);
    expect(createAsideResizer(size, { height: 14, width: 14 }, {})(source, target)).toBeUndefined();
  });
});
