import type { MediaLimits } from './types.ts';

/**
 * Ceilings that hold unless the caller lowers or raises them. One hour: the profiles look at 768 frames at most, 384 s at 2 fps,
 * and a longer film only gets sparser. 8192x4320 bounds what ffmpeg may allocate to about 1 GB (a 200 KB file can ask for more);
 * 50 megapixels are a phone's largest photograph.
 */
export const DEFAULT_LIMITS: MediaLimits = {
  maxSizeBytes: 4 * 1024 ** 3,
  maxDurationSeconds: 3600,
  maxPixels: 8192 * 4320,
  maxStillPixels: 50_000_000,
  probeTimeoutSeconds: 60,
  decodeTimeoutSeconds: 900,
};
