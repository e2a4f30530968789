import { describe, expect, it } from 'vitest';
import { cutPatches, PATCH_COLUMNS } from '../../../src/features/patches.ts';
import type { FrameStack } from '../../../src/features/types.ts';
import { loadNative, nativeStatus } from '../../../src/base/native.ts';
import { noise } from '../../fixtures/noise.ts';
import { sameBits } from '../../fixtures/compare-numbers.ts';

const addon = loadNative();
const status = nativeStatus();
if (!status.loaded) console.log(`Kernels are not compared with their twins: ${status.reason}`);

const NORMALISATION = {
  imageMean: [0.48145466, 0.4578275, 0.40821073],
  imageStd: [0.26862954, 0.26130258, 0.27577711],
} as const;

function stackOf(frames: number, height: number, width: number, final = { height, width }): FrameStack {
  const data = new Uint8Array(frames * height * width * 3);
  data.set(noise(data.length, frames + height));
  return { data, frames, height, width, final, normalisation: NORMALISATION };
}

describe('cutPatches', () => {
  it('puts every pixel where the vision tower looks for it', () => {
    const stack = stackOf(4, 56, 84);
    const patches = cutPatches(stack, 0, 2);
    const [h, w] = [4, 6];
    for (let probe = 0; probe < 2000; probe++) {
      const [frame, y, x, channel] = [probe % 4, (probe * 13) % 56, (probe * 29) % 84, probe % 3];
      const [i, j] = [Math.trunc(y / 14) % 2, Math.trunc(x / 14) % 2];
      const [mergedRow, mergedColumn] = [Math.trunc(y / 28), Math.trunc(x / 28)];
      const row = (((Math.trunc(frame / 2) * (h / 2) + mergedRow) * (w / 2) + mergedColumn) * 2 + i) * 2 + j;
      const column = ((channel * 2 + (frame % 2)) * 14 + (y % 14)) * 14 + (x % 14);
      const pixel = stack.data[((frame * 56 + y) * 84 + x) * 3 + channel]!;
      const { fround } = Math;
      const [mean, deviation] = [
        fround(fround(NORMALISATION.imageMean[channel]!) * 255),
        fround(fround(NORMALISATION.imageStd[channel]!) * 255),
      ];
      expect(patches[row * PATCH_COLUMNS + column]).toBe(fround(fround(pixel - mean) / deviation));
    }
  });

  it.skipIf(addon === undefined).each([
    ['bytes', stackOf(6, 56, 84)],
    ['an odd last frame', stackOf(5, 28, 56)],
    ['a second resize', stackOf(6, 56, 84, { height: 84, width: 112 })],
  ])('gives the same bits in C++ and in TypeScript for %s', (_, stack) => {
    for (const [from, to] of [
      [0, 3],
      [1, 2],
      [2, 3],
      [1, 1],
    ] as const) {
      const ours = cutPatches(stack, from, to, addon === undefined ? {} : { kernels: addon });
      expect(sameBits(ours, cutPatches(stack, from, to, { kernels: {} }))).toBe(true);
    }
  });

  it('uses a lone frame twice, as for a still picture', () => {
    const still = stackOf(1, 28, 28);
    const twice = { ...stackOf(2, 28, 28), data: new Uint8Array(still.data.length * 2) };
    twice.data.set(still.data);
    twice.data.set(still.data, still.data.length);
    expect(sameBits(cutPatches(still, 0, 1), cutPatches(twice, 0, 1))).toBe(true);
  });

  it('gives the same rows whether steps are cut together or one by one', () => {
    const stack = stackOf(8, 28, 56, { height: 56, width: 56 });
    const whole = cutPatches(stack, 0, 4);
    const size = whole.length / 4;
    for (let step = 0; step < 4; step++)
      expect(sameBits(cutPatches(stack, step, step + 1), whole.subarray(step * size, (step + 1) * size))).toBe(true);
  });

  it('are written into given memory where it is large enough', () => {
    const stack = stackOf(6, 56, 84);
    const first = cutPatches(stack, 0, 2);
    const later = cutPatches(stack, 2, 3).slice();
    const reused = cutPatches(stack, 2, 3, { memory: first.buffer });
    expect(reused.buffer).toBe(first.buffer);
    expect(sameBits(reused, later)).toBe(true);
    expect(cutPatches(stack, 0, 3, { memory: first.buffer }).buffer).not.toBe(first.buffer);
  });

  it('refuses steps that do not exist', () => {
    expect(() => cutPatches(stackOf(4, 28, 28), 1, 3)).toThrow(/do not exist/);
    expect(() => cutPatches(stackOf(4, 28, 28), -1, 1)).toThrow(/do not exist/);
  });
});
