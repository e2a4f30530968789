import { loadNative } from '../base/native.ts';
import { createResizer, type PixelBuffer, type PixelKernels } from './resize.ts';
import type { FrameStack } from './types.ts';

const CHANNELS = 3;
const PATCH_SIZE = 14;
/** Patches of 2x2 neighbours become one token. */
const MERGE_SIZE = 2;
const FRAMES_PER_STEP = 2;
/** 3 channels x 2 frames x 14 x 14: columns of one patch row. */
export const PATCH_COLUMNS = CHANNELS * FRAMES_PER_STEP * PATCH_SIZE * PATCH_SIZE;

/** The processor includes its factor 1/255 in mean and deviation, in float32. */
function rescaled(values: readonly number[]): Float32Array {
  return Float32Array.from(values, (value) => Math.fround(Math.fround(value) * 255));
}

/** Number of temporal steps of a stack. An odd last frame, such as a still picture, is used twice. */
export function temporalSteps(stack: Pick<FrameStack, 'frames'>): number {
  return Math.ceil(stack.frames / FRAMES_PER_STEP);
}

/** Number of values of that many temporal steps' patches. */
export function patchValues({ final }: Pick<FrameStack, 'final'>, steps: number): number {
  return steps * (final.height / PATCH_SIZE) * (final.width / PATCH_SIZE) * PATCH_COLUMNS;
}

/** A stack of the temporal steps [fromStep, toStep), in memory of its own. */
export function copyOfSteps(stack: FrameStack, fromStep: number, toStep: number): FrameStack {
  const frameBytes = stack.height * stack.width * CHANNELS;
  const first = fromStep * FRAMES_PER_STEP;
  const last = Math.min(toStep * FRAMES_PER_STEP, stack.frames);
  return { ...stack, data: stack.data.slice(first * frameBytes, last * frameBytes), frames: last - first };
}

interface Frames {
  /** [frames, height, width, 3] */
  readonly data: PixelBuffer;
  readonly frames: number;
}

/**
 * Frames of these steps after the second resize (reference-model.md, Second resize): bicubic again, not clamped or
 * rounded.
 */
function resizeAgain(stack: FrameStack, fromStep: number, toStep: number, kernels: PixelKernels): Frames {
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

export interface PatchOptions {
  /** of the addon; `{}` runs the slower TypeScript version */
  readonly kernels?: PixelKernels;
  /** written into where it is large enough: memory that is new to the process costs more time than the patches */
  readonly memory?: ArrayBuffer | undefined;
}

/**
 * Normalised pixels of the temporal steps [fromStep, toStep) as the vision tower's rows: `(x - mean) / deviation` in
 * float32, rows in the order (step, merged row, merged column, 2, 2), columns in the order (channel, frame of the pair,
 * y, x) (reference-model.md, Patches).
 * @returns [(toStep - fromStep) * height/14 * width/14, 1176]; one step of 504x784 takes 9.5 MB, so ask for few steps
 *   at a time
 */
export function cutPatches(
  stack: FrameStack,
  fromStep: number,
  toStep: number,
  { kernels = loadNative() ?? {}, memory }: PatchOptions = {},
): Float32Array<ArrayBuffer> {
  const steps = temporalSteps(stack);
  if (fromStep < 0 || toStep < fromStep || toStep > steps) {
    throw new Error(`Steps ${fromStep} to ${toStep} of ${steps} do not exist. This is a bug.`);
  }
  const { final, normalisation } = stack;
  const again = final.height !== stack.height || final.width !== stack.width;
  const pixels: Frames = again ? resizeAgain(stack, fromStep, toStep, kernels) : stack;
  const first = again ? 0 : fromStep;
  const values = patchValues(stack, toStep - fromStep);
  const fits = memory !== undefined && memory.byteLength >= values * Float32Array.BYTES_PER_ELEMENT;
  const target = fits ? new Float32Array(memory, 0, values) : new Float32Array(values);
  const mean = rescaled(normalisation.imageMean);
  const deviation = rescaled(normalisation.imageStd);
  const cut = kernels.cutPatches ?? cutPatchesPortable;
  if (toStep === fromStep) return target;
  cut(pixels.data, pixels.frames, final.height, final.width, first, first + toStep - fromStep, mean, deviation, target);
  return target;
}

/** Normalised value of each byte: [256, 3] f32. */
function byteTable(mean: Float32Array, deviation: Float32Array): Float32Array {
  return Float32Array.from({ length: 256 * CHANNELS }, (_, index) => {
    const channel = index % CHANNELS;
    return Math.fround(Math.trunc(index / CHANNELS) - (mean[channel] ?? 0)) / (deviation[channel] ?? 1);
  });
}

/** Row of the patch at (patchRow, column) within a step: the 2x2 neighbours of one token are adjacent rows. */
function rowOf(patchRow: number, column: number, columns: number): number {
  const merged = Math.trunc(patchRow / MERGE_SIZE) * (columns / MERGE_SIZE) + Math.trunc(column / MERGE_SIZE);
  return (merged * MERGE_SIZE + (patchRow % MERGE_SIZE)) * MERGE_SIZE + (column % MERGE_SIZE);
}

/** The TypeScript version of native/patches.cc; slower. */
function cutPatchesPortable(
  pixels: PixelBuffer,
  frames: number,
  height: number,
  width: number,
  fromStep: number,
  toStep: number,
  mean: Float32Array,
  deviation: Float32Array,
  target: Float32Array,
): void {
  const columns = width / PATCH_SIZE;
  const table = pixels instanceof Uint8Array ? byteTable(mean, deviation) : undefined;
  const stepSize = (height / PATCH_SIZE) * columns * PATCH_COLUMNS;
  for (let frame = fromStep * FRAMES_PER_STEP; frame < toStep * FRAMES_PER_STEP; frame++) {
    const pair = frame % FRAMES_PER_STEP;
    const step = (Math.trunc(frame / FRAMES_PER_STEP) - fromStep) * stepSize;
    for (let y = 0; y < height; y++) {
      let at = (Math.min(frame, frames - 1) * height + y) * width * CHANNELS;
      for (let x = 0; x < width; x++) {
        const row = rowOf(Math.trunc(y / PATCH_SIZE), Math.trunc(x / PATCH_SIZE), columns);
        const corner =
          step + row * PATCH_COLUMNS + (pair * PATCH_SIZE + (y % PATCH_SIZE)) * PATCH_SIZE + (x % PATCH_SIZE);
        for (let channel = 0; channel < CHANNELS; channel++, at++) {
          const value = pixels[at] ?? 0;
          const place = corner + channel * FRAMES_PER_STEP * PATCH_SIZE * PATCH_SIZE;
          if (table !== undefined) target[place] = table[value * CHANNELS + channel] ?? 0;
          else target[place] = Math.fround(value - (mean[channel] ?? 0)) / (deviation[channel] ?? 1);
        }
      }
    }
  }
}
