import { describe, expect, it } from 'vitest';
import { logMel, melFilters } from '../../../src/features/log-mel.ts';
import { createPowerSpectrum, FFT_SIZE, SPECTRUM_BINS } from '../../../src/features/power-spectrum.ts';
import { MAX_SAMPLES } from '../../../src/media/audio-length.ts';
import { noise } from '../../fixtures/noise.ts';
import { sameBits } from '../../fixtures/compare-numbers.ts';

describe('createPowerSpectrum', () => {
  it('agrees with the plain sum of the Fourier transform', () => {
    const frame = Float64Array.from(noise(FFT_SIZE, 5), (value) => value / 128 - 1);
    const power = new Float64Array(SPECTRUM_BINS);
    createPowerSpectrum()(frame.slice(), power);
    for (let bin = 0; bin < SPECTRUM_BINS; bin++) {
      let [re, im] = [0, 0];
      frame.forEach((value, index) => {
        const angle = (-2 * Math.PI * ((index * bin) % FFT_SIZE)) / FFT_SIZE;
        re += value * Math.cos(angle);
        im += value * Math.sin(angle);
      });
      expect(power[bin]).toBeCloseTo(re * re + im * im, 8);
    }
  });

  it('holds nothing over from the frame before', () => {
    const spectrum = createPowerSpectrum();
    const [first, second] = [new Float64Array(SPECTRUM_BINS), new Float64Array(SPECTRUM_BINS)];
    const frame = (): Float64Array => Float64Array.from(noise(FFT_SIZE, 9));
    spectrum(frame(), first);
    spectrum(Float64Array.from(noise(FFT_SIZE, 10)), second);
    spectrum(frame(), second);
    expect(second).toEqual(first);
  });
});

describe('melFilters', () => {
  it('has the 394 weights of the reference bank, each filter of about unit area', () => {
    const filters = melFilters();
    expect(filters).toHaveLength(128);
    expect(filters.reduce((sum, filter) => sum + filter.weights.length, 0)).toBe(394);
    // Slaney's norm: wide triangles integrate to one over frequency (40 Hz a bin).
    for (const { weights } of filters.slice(100))
      expect(weights.reduce((sum, weight) => sum + weight * 40, 0)).toBeCloseTo(1, 1);
  });
});

describe('logMel', () => {
  it('is -1.5 everywhere for silence', () => {
    const { mel, frames } = logMel(new Float32Array(4000));
    expect(frames).toBe(25);
    expect(mel.every((value) => value === -1.5)).toBe(true);
  });

  it('gives nothing for no sound', () => {
    expect(logMel(new Float32Array(0))).toEqual({ mel: new Float32Array(0), frames: 0 });
  });

  it('spans at most 80 dB below the loudest value, which may lie after the last frame', () => {
    const click = new Float32Array(1600);
    click[1599] = 1; // frame 10, the first that is not kept, is centred on sample 1600
    const { mel, frames } = logMel(click);
    expect(frames).toBe(10);
    const alone = logMel(Float32Array.from({ length: 3200 }, (_, index) => (index === 1599 ? 1 : 0)));
    const loudest = alone.mel.reduce((most, value) => Math.max(most, value), -Infinity);
    const quietest = mel.reduce((least, value) => Math.min(least, value), Infinity);
    expect(quietest).toBeCloseTo(loudest - 2, 5);
  });

  it('hears nothing beyond 300 s, and reflects the sound at that edge', () => {
    const long = Float32Array.from(
      { length: MAX_SAMPLES + 3200 },
      (_, index) => Math.sin(index / 9) * (index < MAX_SAMPLES ? 0.1 : 1),
    );
    const { mel, frames } = logMel(long);
    expect(frames).toBe(30_000);
    expect(sameBits(mel, logMel(long.subarray(0, MAX_SAMPLES)).mel)).toBe(true);
  });
});
