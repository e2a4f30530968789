import { MEL_BINS, melFilters } from './mel-filters.ts';
import { createPowerSpectrum, FFT_SIZE, SPECTRUM_BINS } from './power-spectrum.ts';

/** The extractor pads or cuts every sound to 300 s at 16 kHz (reference-model 4.2). */
export const PADDED_SAMPLES = 300 * 16_000;
const HOP = 160;
const MOST_FRAMES = PADDED_SAMPLES / HOP;
/** Tail samples leak into the two frames after the last valid one, and the loudest value may lie there. */
const FRAMES_AFTER = 2;
const FLOOR = 1e-10;
const DYNAMIC_RANGE = 8;

/** Periodic Hann window. */
const WINDOW = Float64Array.from(
  { length: FFT_SIZE },
  (_, index) => 0.5 - 0.5 * Math.cos((2 * Math.PI * index) / FFT_SIZE),
);

/** Frames that the audio tower gets for so many samples, and the tokens it makes of them (reference-model 4.2, 4.3). */
export function melLengths(samples: number): { frames: number; tokens: number } {
  const frames = Math.ceil(Math.min(samples, PADDED_SAMPLES) / HOP);
  return { frames, tokens: Math.floor((frames + 1) / 4) };
}

/** Windowed samples around 160 * frame: reflected at both edges of the padded 300 s, silent where the sound has ended. */
function windowed(waveform: Float32Array, heard: number, frame: number, to: Float64Array): void {
  const first = frame * HOP - FFT_SIZE / 2;
  for (let index = 0; index < FFT_SIZE; index++) {
    let at = Math.abs(first + index);
    if (at >= PADDED_SAMPLES) at = 2 * PADDED_SAMPLES - 2 - at;
    to[index] = at < heard ? (waveform[at] ?? 0) * (WINDOW[index] ?? 0) : 0;
  }
}

/**
 * Whisper's log-mel spectrogram as its feature extractor gives it to the audio tower (reference-model 4.2): STFT of 400
 * samples every 160, power, 128 mel bands, log10, at most 8 below the loudest, then (x + 4) / 4.
 * @param waveform 16 kHz mono; what lies beyond 300 s is not heard
 * @returns mel [128, frames] f32, bins outermost
 */
export function logMel(waveform: Float32Array): { mel: Float32Array<ArrayBuffer>; frames: number } {
  const heard = Math.min(waveform.length, PADDED_SAMPLES);
  const { frames } = melLengths(heard);
  const computed = frames === 0 ? 0 : Math.min(frames + FRAMES_AFTER, MOST_FRAMES);
  const filters = melFilters();
  const spectrum = createPowerSpectrum();
  const samples = new Float64Array(FFT_SIZE);
  const power = new Float64Array(SPECTRUM_BINS);
  const mel = new Float32Array(MEL_BINS * frames);
  let loudest = Math.log10(FLOOR);
  for (let frame = 0; frame < computed; frame++) {
    windowed(waveform, heard, frame, samples);
    spectrum(samples, power);
    for (let band = 0; band < MEL_BINS; band++) {
      const level = Math.log10(Math.max(bandPower(power, filters[band]), FLOOR));
      if (level > loudest) loudest = level;
      if (frame < frames) mel[band * frames + frame] = level;
    }
  }
  const quietest = loudest - DYNAMIC_RANGE;
  for (let index = 0; index < mel.length; index++) mel[index] = (Math.max(mel[index] ?? 0, quietest) + 4) / 4;
  return { mel, frames };
}

function bandPower(power: Float64Array, filter: { first: number; weights: Float64Array } | undefined): number {
  if (filter === undefined) throw new Error('A mel band has no filter. This is a bug.');
  let sum = 0;
  for (let index = 0; index < filter.weights.length; index++)
    sum += (power[filter.first + index] ?? 0) * (filter.weights[index] ?? 0);
  return sum;
}
