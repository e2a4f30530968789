import { AvocadoError } from '../base/errors.ts';
import { roundHalfEven } from './round-half-even.ts';

/** qwen-omni-utils MAX_RATIO (reference-model 3.1). */
export const MAX_ASPECT_RATIO = 200;

export interface Size {
  readonly height: number;
  readonly width: number;
}

/** @throws AvocadoError `media_aspect_ratio` when one side is more than 200 times the other */
export function checkAspectRatio({ height, width }: Size): void {
  if (Math.max(height, width) / Math.min(height, width) <= MAX_ASPECT_RATIO) return;
  throw new AvocadoError(
    'media_aspect_ratio',
    `The picture is ${width}x${height}: one side may be at most ${MAX_ASPECT_RATIO} times the other. Crop it or pad it.`,
  );
}

/**
 * The size nearest to `size` whose sides are multiples of `factor` and whose area lies within the limits
 * (reference-model 3.3; qwen-omni-utils 0.0.8 `smart_resize`, float64 throughout).
 * @param limits pixels; may be fractional
 * @throws AvocadoError `media_aspect_ratio`
 */
export function smartResize(
  size: Size,
  factor: number,
  limits: { readonly minPixels: number; readonly maxPixels: number },
): Size {
  checkAspectRatio(size);
  const { minPixels, maxPixels } = limits;
  const nearest = (side: number): number => Math.max(factor, roundHalfEven(side / factor) * factor);
  const height = nearest(size.height);
  const width = nearest(size.width);
  if (height * width > maxPixels) {
    const beta = Math.sqrt((size.height * size.width) / maxPixels);
    const shrink = (side: number): number => Math.max(factor, Math.floor(side / beta / factor) * factor);
    return { height: shrink(size.height), width: shrink(size.width) };
  }
  if (height * width < minPixels) {
    const beta = Math.sqrt(minPixels / (size.height * size.width));
    const grow = (side: number): number => Math.ceil((side * beta) / factor) * factor;
    return { height: grow(size.height), width: grow(size.width) };
  }
  return { height, width };
}
