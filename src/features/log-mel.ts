import { HOP_SAMPLES, MAX_SAMPLES, melFrames } from '../media/audio-length.ts';
import { createPowerSpectrum, FFT_SIZE, SPECTRUM_BINS } from './power-spectrum.ts';

const MEL_BANDS = 128;
/** The last samples leak into the two frames after the last valid one, and the loudest value may be there. */
const FRAMES_AFTER = 2;
const FLOOR = 1e-10;
/** log10 units below the loudest value of the whole audio */
const DYNAMIC_RANGE = 8;

/** Periodic Hann window. */
const WINDOW = Float64Array.from(
  { length: FFT_SIZE },
  (_, index) => 0.5 - 0.5 * Math.cos((2 * Math.PI * index) / FFT_SIZE),
);

/**
 * Windowed samples around 160 * frame: reflected at both edges of the padded 300 s, silence where the audio has ended.
 */
function windowed(waveform: Float32Array, length: number, frame: number, to: Float64Array): void {
  const first = frame * HOP_SAMPLES - FFT_SIZE / 2;
  for (let index = 0; index < FFT_SIZE; index++) {
    let at = Math.abs(first + index);
    if (at >= MAX_SAMPLES) at = 2 * MAX_SAMPLES - 2 - at;
    to[index] = at < length ? (waveform[at] ?? 0) * (WINDOW[index] ?? 0) : 0;
  }
}

/**
 * Whisper's log-mel spectrogram as its feature extractor computes it for the audio tower (reference-model.md, Log-mel):
 * STFT of 400 samples every 160, power, 128 mel bands, log10, at most 8 below the loudest, then (x + 4) / 4.
 * @param waveform 16 kHz mono; samples beyond 300 s are ignored
 * @returns mel [128, frames] f32, bands outermost
 */
export function logMel(waveform: Float32Array): { mel: Float32Array<ArrayBuffer>; frames: number } {
  const length = Math.min(waveform.length, MAX_SAMPLES);
  const frames = melFrames(length);
  const computed = frames === 0 ? 0 : Math.min(frames + FRAMES_AFTER, MAX_SAMPLES / HOP_SAMPLES);
  const filters = melFilters();
  const spectrum = createPowerSpectrum();
  const samples = new Float64Array(FFT_SIZE);
  const power = new Float64Array(SPECTRUM_BINS);
  const mel = new Float32Array(MEL_BANDS * frames);
  let loudest = Math.log10(FLOOR);
  for (let frame = 0; frame < computed; frame++) {
    windowed(waveform, length, frame, samples);
    spectrum(samples, power);
    for (let band = 0; band < MEL_BANDS; band++) {
      const level = Math.log10(Math.max(bandPower(power, filters[band]), FLOOR));
      if (level > loudest) loudest = level;
      if (frame < frames) mel[band * frames + frame] = level;
    }
  }
  const quietest = loudest - DYNAMIC_RANGE;
  for (let index = 0; index < mel.length; index++) mel[index] = (Math.max(mel[index] ?? 0, quietest) + 4) / 4;
  return { mel, frames };
}

function bandPower(power: Float64Array, filter: MelFilter | undefined): number {
  if (filter === undefined) throw new Error('A mel band has no filter. This is a bug.');
  let sum = 0;
  for (let index = 0; index < filter.weights.length; index++)
    sum += (power[filter.first + index] ?? 0) * (filter.weights[index] ?? 0);
  return sum;
}

const TOP_HZ = 8000;
/** Slaney's scale is linear below 1 kHz and logarithmic above. */
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
interface MelFilter {
  readonly first: number;
  readonly weights: Float64Array;
}

/**
 * Whisper's filter bank: 128 triangles from 0 to 8000 Hz on Slaney's scale with Slaney's norm, over 201 bins
 * (reference-model.md, Log-mel). Weights are rounded to float32, as the reference stores them.
 */
export function melFilters(): MelFilter[] {
  const top = toMel(TOP_HZ);
  const corners = Array.from({ length: MEL_BANDS + 2 }, (_, index) => toHertz((top * index) / (MEL_BANDS + 1)));
  return Array.from({ length: MEL_BANDS }, (_, index) => {
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
