import { SPECTRUM_BINS } from './power-spectrum.ts';

export const MEL_BINS = 128;

const TOP_HZ = 8000;
/** Slaney's scale: linear below 1 kHz, logarithmic above. */
const KNEE_HZ = 1000;
const KNEE_MEL = 15;
const LOG_STEP = Math.log(6.4) / 27;

function toMel(hertz: number): number {
  return hertz < KNEE_HZ ? (3 * hertz) / 200 : KNEE_MEL + Math.log(hertz / KNEE_HZ) / LOG_STEP;
}

function toHertz(mel: number): number {
  return mel < KNEE_MEL ? (200 * mel) / 3 : KNEE_HZ * Math.exp((mel - KNEE_MEL) * LOG_STEP);
}

/** One triangle: weights of the spectrum bins from `first` on. */
export interface MelFilter {
  readonly first: number;
  readonly weights: Float64Array;
}

/**
 * Whisper's filter bank: 128 triangles from 0 to 8000 Hz on Slaney's scale with Slaney's norm, over 201 bins
 * (reference-model 4.2). Weights are rounded to float32, as the reference stores them.
 */
export function melFilters(): MelFilter[] {
  const top = toMel(TOP_HZ);
  const corners = Array.from({ length: MEL_BINS + 2 }, (_, index) => toHertz((top * index) / (MEL_BINS + 1)));
  return Array.from({ length: MEL_BINS }, (_, index) => {
    const [low = 0, peak = 0, high = 0] = corners.slice(index, index + 3);
    const values = Array.from({ length: SPECTRUM_BINS }, (__, bin) => {
      const hertz = (TOP_HZ * bin) / (SPECTRUM_BINS - 1);
      const height = Math.max(0, Math.min((hertz - low) / (peak - low), (high - hertz) / (high - peak)));
      return Math.fround((height * 2) / (high - low));
    });
    const first = Math.max(
      0,
      values.findIndex((value) => value > 0),
    );
    const end = values.findLastIndex((value) => value > 0) + 1;
    return { first, weights: Float64Array.from(values.slice(first, end)) };
  });
}
