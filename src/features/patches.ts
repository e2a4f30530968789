import { loadNative } from '../base/native.ts';
import { cutPatchesPortable } from './patches-portable.ts';
import { createResizer, type Kernels } from './resize.ts';
import type { FrameStack } from './types.ts';

export const PATCH_SIZE = 14;
const FRAMES_PER_STEP = 2;
/** 3 channels x 2 frames x 14 x 14: columns of one patch row. */
export const PATCH_COLUMNS = 3 * FRAMES_PER_STEP * PATCH_SIZE * PATCH_SIZE;

/** The processor folds its 1/255 into mean and deviation, in float32. */
function rescaled(values: readonly number[]): Float32Array {
  return Float32Array.from(values, (value) => Math.fround(Math.fround(value) * 255));
}

/** Temporal steps of a stack; a last odd frame, like a still picture, is used twice. */
export function temporalSteps(stack: Pick<FrameStack, 'frames'>): number {
  return Math.ceil(stack.frames / FRAMES_PER_STEP);
}

interface Pixels {
  readonly data: Uint8Array | Float32Array;
  readonly frames: number;
}

/** Frames of these steps after the second resize (reference-model 3.5): bicubic again, neither clamped nor rounded. */
function resizeAgain(stack: FrameStack, fromStep: number, toStep: number, kernels: Kernels): Pixels {
  const first = fromStep * FRAMES_PER_STEP;
  const frames = Math.min(toStep * FRAMES_PER_STEP, stack.frames) - first;
  const sourceSize = stack.height * stack.width * 3;
  const targetSize = stack.final.height * stack.final.width * 3;
  const data = new Float32Array(frames * targetSize);
  const resize = createResizer(stack, stack.final, kernels);
  for (let frame = 0; frame < frames; frame++) {
    const source = stack.data.subarray((first + frame) * sourceSize, (first + frame + 1) * sourceSize);
    resize(source, data.subarray(frame * targetSize, (frame + 1) * targetSize));
  }
  return { data, frames };
}

/**
 * Normalised pixels of the temporal steps [fromStep, toStep) as the vision tower's rows: `(x - mean) / deviation` in float32,
 * rows in the order (step, merged row, merged column, 2, 2), columns in the order (channel, frame of the pair, y, x)
 * (reference-model 3.5).
 * @returns [(toStep - fromStep) * height/14 * width/14, 1176]; ask for few steps at a time, a step of 504x784 has 9.5 MB
 * @param kernels of the addon; `{}` runs the slow TypeScript twin
 */
export function cutPatches(
  stack: FrameStack,
  fromStep: number,
  toStep: number,
  kernels: Kernels = loadNative() ?? {},
): Float32Array<ArrayBuffer> {
  const steps = temporalSteps(stack);
  if (fromStep < 0 || toStep < fromStep || toStep > steps) {
    throw new Error(`Steps ${fromStep} to ${toStep} of ${steps} do not exist. This is a bug.`);
  }
  const { final, normalisation } = stack;
  const again = final.height !== stack.height || final.width !== stack.width;
  const pixels: Pixels = again ? resizeAgain(stack, fromStep, toStep, kernels) : stack;
  const first = again ? 0 : fromStep;
  const target = new Float32Array(
    (toStep - fromStep) * (final.height / PATCH_SIZE) * (final.width / PATCH_SIZE) * PATCH_COLUMNS,
  );
  const mean = rescaled(normalisation.imageMean);
  const deviation = rescaled(normalisation.imageStd);
  const cut = kernels.cutPatches ?? cutPatchesPortable;
  if (toStep === fromStep) return target;
  cut(pixels.data, pixels.frames, final.height, final.width, first, first + toStep - fromStep, mean, deviation, target);
  return target;
}
