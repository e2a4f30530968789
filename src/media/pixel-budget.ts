import { smartResize, type Size } from './smart-resize.ts';
import type { PreprocessProfile } from './types.ts';

/** qwen-omni-utils VIDEO_MAX_PIXELS: no frame is ever larger, whatever the caller allows (reference-model 3.1). */
const FRAME_MAX_PIXELS = 768 * 28 * 28;

export type PixelRules = Pick<
  PreprocessProfile,
  'minPixels' | 'maxPixels' | 'totalPixels' | 'processorMinPixels' | 'processorMaxPixels'
>;

export interface FrameSizes {
  /** after the first resize (qwen-omni-utils) */
  readonly stageA: Size;
  /** after the second (the processor); equal to stageA where it does not fire */
  readonly final: Size;
}

/** Most pixels a frame may have when `count` of them share the budget (reference-model 3.3). May be fractional. */
export function pixelCap(count: number, rules: PixelRules): number {
  const share = (Math.trunc(rules.totalPixels) / count) * 2;
  const cap = Math.max(Math.min(FRAME_MAX_PIXELS, share), Math.trunc(rules.minPixels * 1.05));
  return Math.min(rules.maxPixels ?? cap, cap);
}

/**
 * Sizes of every frame after either resize (reference-model 3.3 and 3.5).
 * @throws AvocadoError `media_aspect_ratio`
 */
export function frameSizes(source: Size, count: number, factor: number, rules: PixelRules): FrameSizes {
  const stageA = smartResize(source, factor, { minPixels: rules.minPixels, maxPixels: pixelCap(count, rules) });
  return {
    stageA,
    final: smartResize(stageA, factor, { minPixels: rules.processorMinPixels, maxPixels: rules.processorMaxPixels }),
  };
}
