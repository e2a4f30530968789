import { loadNative, type NativeAddon } from '../base/native.ts';
import { resizeFramePortable } from './resize-portable.ts';
import { axisTaps } from './resize-weights.ts';

export interface FrameSize {
  readonly height: number;
  readonly width: number;
}

/** [height, width, 3]: bytes are clamped and rounded half to even, floats are left as the sums gave them */
export type Pixels = Uint8Array | Float32Array;

/** What of the addon this stage uses; what is missing runs as its TypeScript twin. */
export type Kernels = Partial<Pick<NativeAddon, 'resizeFrame' | 'cutPatches'>>;

/** Resizes one frame, [source height, source width, 3] u8, into `target`, [target height, target width, 3]. */
export type Resizer = (source: Uint8Array, target: Pixels) => void;

/**
 * The reference's video resize: torchvision v1 antialiased bicubic in float32, horizontal pass first (reference-model 3.4).
 * Weights are computed once; one resizer serves every frame of a clip. Into bytes it is the first resize, into floats the
 * second one, which the reference neither clamps nor rounds (3.5).
 * @param kernels of the addon; `{}` runs the slow TypeScript twin
 */
export function createResizer(source: FrameSize, target: FrameSize, kernels: Kernels = loadNative() ?? {}): Resizer {
  const rows = axisTaps(source.height, target.height);
  const columns = axisTaps(source.width, target.width);
  const resize = kernels.resizeFrame ?? resizeFramePortable;
  return (from, to) => {
    // Same size: every weight is 0 or 1, and the reference returns its input.
    if (source.height === target.height && source.width === target.width) to.set(from.subarray(0, to.length));
    else resize(from, source.height, source.width, to, target.height, target.width, rows, columns);
  };
}
