import { SAMPLE_RATE } from './audio-length.ts';

/** zero crossings of the sinc on each side */
const ZEROS = 32;
/** Of the Kaiser window: 80 dB down outside the pass band. */
const BETA = 8;
/** Of the lower of both Nyquist frequencies. The transition ends there, so that nothing folds back. */
const CUTOFF = 0.92;
/** A rate without a simple ratio to 16 kHz takes the nearest of this many kernels: 65 dB at 8 kHz, more below. */
const MAX_PHASES = 1000;

/**
 * Resamples to 16 kHz with a Kaiser-windowed sinc; silence before and after. Keeps no state, so that pieces of sound
 * of unlike rates can be resampled one by one. (Sound of one rate is resampled by ffmpeg's libsoxr, as the reference
 * does.)
 * @param sampleRate Hz, of the input
 * @param length number of samples to make; the first is at the time of the first input sample
 */
export function resample(samples: Float32Array, sampleRate: number, length: number): Float32Array<ArrayBuffer> {
  const out = new Float32Array(length);
  if (sampleRate === SAMPLE_RATE) {
    out.set(samples.subarray(0, length));
    return out;
  }
  const phases = Math.min(MAX_PHASES, SAMPLE_RATE / greatestCommonDivisor(sampleRate, SAMPLE_RATE));
  const kernels = new Map<number, Float64Array>();
  const cutoff = CUTOFF * Math.min(1, SAMPLE_RATE / sampleRate);
  const reach = Math.ceil(ZEROS / cutoff);
  for (let index = 0; index < length; index++) {
    const position = (index * sampleRate) / SAMPLE_RATE;
    const step = Math.round(position * phases);
    const phase = step % phases;
    let kernel = kernels.get(phase);
    if (kernel === undefined) kernels.set(phase, (kernel = makeKernel(cutoff, reach, phase / phases)));
    const first = Math.floor(step / phases) - reach + 1;
    const end = Math.min(kernel.length, samples.length - first);
    let sum = 0;
    for (let tap = Math.max(0, -first); tap < end; tap++) sum += (samples[first + tap] ?? 0) * (kernel[tap] ?? 0);
    out[index] = sum;
  }
  return out;
}

/** Weights of the 2 · reach input samples around a position that is `fraction` of a sample after the middle one. */
function makeKernel(cutoff: number, reach: number, fraction: number): Float64Array {
  const kernel = new Float64Array(2 * reach);
  let sum = 0;
  for (let tap = 0; tap < kernel.length; tap++) {
    const distance = tap - reach + 1 - fraction;
    const x = Math.PI * cutoff * distance;
    const sinc = x === 0 ? 1 : Math.sin(x) / x;
    const edge = 1 - (distance / reach) ** 2;
    const weight = edge <= 0 ? 0 : sinc * besselI0(BETA * Math.sqrt(edge));
    kernel[tap] = weight;
    sum += weight;
  }
  return kernel.map((weight) => weight / sum);
}

/** Modified Bessel function of order 0, by its series. */
function besselI0(x: number): number {
  let term = 1;
  let sum = 1;
  for (let k = 1; term > sum * 1e-15; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
