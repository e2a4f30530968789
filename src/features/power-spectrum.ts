// |FFT|^2 of real frames of 400 samples, float64. FFT packages need a power of two, so this is our own: a Stockham FFT
// of 200 complex points (4 x 2 x 5 x 5), then the usual step from 200 complex to 400 real points.

export const FFT_SIZE = 400;
/** Bins 0..200 of a real FFT. */
export const SPECTRUM_BINS = FFT_SIZE / 2 + 1;

const POINTS = FFT_SIZE / 2;
const RADICES = [4, 2, 5, 5] as const;

/** Interleaved [re, im] of exp(-2 pi i k / count). */
function roots(count: number): Float64Array {
  const table = new Float64Array(2 * count);
  for (let index = 0; index < count; index++) {
    table[2 * index] = Math.cos((-2 * Math.PI * index) / count);
    table[2 * index + 1] = Math.sin((-2 * Math.PI * index) / count);
  }
  return table;
}

/**
 * One Stockham stage: `length / radix` groups of butterflies, `stride` at a time, each output times its twiddle factor.
 */
interface FftStage {
  readonly radix: 2 | 4 | 5;
  readonly groups: number;
  readonly stride: number;
  /** [groups, radix] interleaved */
  readonly twiddles: Float64Array;
}

function planStages(): FftStage[] {
  let length = POINTS;
  let stride = 1;
  return RADICES.map((radix) => {
    const groups = length / radix;
    const circle = roots(length);
    const twiddles = new Float64Array(groups * radix * 2);
    for (let group = 0; group < groups; group++) {
      for (let output = 0; output < radix; output++) {
        const turn = 2 * group * output;
        twiddles.set(circle.subarray(turn, turn + 2), 2 * (group * radix + output));
      }
    }
    const stage: FftStage = { radix, groups, stride, twiddles };
    length = groups;
    stride *= radix;
    return stage;
  });
}

const C1 = Math.cos((2 * Math.PI) / 5);
const C2 = Math.cos((4 * Math.PI) / 5);
const S1 = Math.sin((2 * Math.PI) / 5);
const S2 = Math.sin((4 * Math.PI) / 5);

const STAGES = planStages();
const HALF_TURN = roots(FFT_SIZE);

/** interleaved [re, im] */
type ComplexArray = Float64Array;

/** Writes `re + i im` times the twiddle factor at `turn`. */
function put(to: ComplexArray, at: number, re: number, im: number, twiddles: Float64Array, turn: number): void {
  const wr = twiddles[turn] ?? 0;
  const wi = twiddles[turn + 1] ?? 0;
  to[at] = re * wr - im * wi;
  to[at + 1] = re * wi + im * wr;
}

function radix2({ groups, stride, twiddles }: FftStage, from: ComplexArray, to: ComplexArray): void {
  for (let group = 0; group < groups; group++) {
    for (let q = 0; q < stride; q++) {
      const a = 2 * (q + stride * group);
      const b = a + 2 * stride * groups;
      const out = 2 * (q + stride * 2 * group);
      const ar = from[a] ?? 0;
      const ai = from[a + 1] ?? 0;
      const br = from[b] ?? 0;
      const bi = from[b + 1] ?? 0;
      to[out] = ar + br;
      to[out + 1] = ai + bi;
      put(to, out + 2 * stride, ar - br, ai - bi, twiddles, 4 * group + 2);
    }
  }
}

function radix4({ groups, stride, twiddles }: FftStage, from: ComplexArray, to: ComplexArray): void {
  const next = 2 * stride * groups;
  for (let group = 0; group < groups; group++) {
    const turn = 8 * group;
    for (let q = 0; q < stride; q++) {
      const a = 2 * (q + stride * group);
      const out = 2 * (q + stride * 4 * group);
      const evenRe = (from[a] ?? 0) + (from[a + 2 * next] ?? 0);
      const evenIm = (from[a + 1] ?? 0) + (from[a + 2 * next + 1] ?? 0);
      const apartRe = (from[a] ?? 0) - (from[a + 2 * next] ?? 0);
      const apartIm = (from[a + 1] ?? 0) - (from[a + 2 * next + 1] ?? 0);
      const oddRe = (from[a + next] ?? 0) + (from[a + 3 * next] ?? 0);
      const oddIm = (from[a + next + 1] ?? 0) + (from[a + 3 * next + 1] ?? 0);
      const crossRe = (from[a + next] ?? 0) - (from[a + 3 * next] ?? 0);
      const crossIm = (from[a + next + 1] ?? 0) - (from[a + 3 * next + 1] ?? 0);
      to[out] = evenRe + oddRe;
      to[out + 1] = evenIm + oddIm;
      put(to, out + 2 * stride, apartRe + crossIm, apartIm - crossRe, twiddles, turn + 2);
      put(to, out + 4 * stride, evenRe - oddRe, evenIm - oddIm, twiddles, turn + 4);
      put(to, out + 6 * stride, apartRe - crossIm, apartIm + crossRe, twiddles, turn + 6);
    }
  }
}

function radix5({ groups, stride, twiddles }: FftStage, from: ComplexArray, to: ComplexArray): void {
  const next = 2 * stride * groups;
  for (let group = 0; group < groups; group++) {
    const turn = 10 * group;
    for (let q = 0; q < stride; q++) {
      const a = 2 * (q + stride * group);
      const out = 2 * (q + stride * 5 * group);
      const re = from[a] ?? 0;
      const im = from[a + 1] ?? 0;
      const b = a + next;
      const c = b + next;
      const d = c + next;
      const e = d + next;
      const outerRe = (from[b] ?? 0) + (from[e] ?? 0);
      const outerIm = (from[b + 1] ?? 0) + (from[e + 1] ?? 0);
      const innerRe = (from[c] ?? 0) + (from[d] ?? 0);
      const innerIm = (from[c + 1] ?? 0) + (from[d + 1] ?? 0);
      const spreadRe = (from[b] ?? 0) - (from[e] ?? 0);
      const spreadIm = (from[b + 1] ?? 0) - (from[e + 1] ?? 0);
      const gapRe = (from[c] ?? 0) - (from[d] ?? 0);
      const gapIm = (from[c + 1] ?? 0) - (from[d + 1] ?? 0);
      const nearRe = re + C1 * outerRe + C2 * innerRe;
      const nearIm = im + C1 * outerIm + C2 * innerIm;
      const farRe = re + C2 * outerRe + C1 * innerRe;
      const farIm = im + C2 * outerIm + C1 * innerIm;
      const nearTurnRe = S1 * spreadRe + S2 * gapRe;
      const nearTurnIm = S1 * spreadIm + S2 * gapIm;
      const farTurnRe = S2 * spreadRe - S1 * gapRe;
      const farTurnIm = S2 * spreadIm - S1 * gapIm;
      to[out] = re + outerRe + innerRe;
      to[out + 1] = im + outerIm + innerIm;
      put(to, out + 2 * stride, nearRe + nearTurnIm, nearIm - nearTurnRe, twiddles, turn + 2);
      put(to, out + 4 * stride, farRe + farTurnIm, farIm - farTurnRe, twiddles, turn + 4);
      put(to, out + 6 * stride, farRe - farTurnIm, farIm + farTurnRe, twiddles, turn + 6);
      put(to, out + 8 * stride, nearRe - nearTurnIm, nearIm + nearTurnRe, twiddles, turn + 8);
    }
  }
}

/** Forward FFT of 200 complex points. After four stages, the result is in `signal` again. */
function transform(signal: ComplexArray, spare: ComplexArray): void {
  let [from, to] = [signal, spare];
  for (const stage of STAGES) {
    switch (stage.radix) {
      case 2:
        radix2(stage, from, to);
        break;
      case 4:
        radix4(stage, from, to);
        break;
      case 5:
        radix5(stage, from, to);
        break;
      default:
        stage.radix satisfies never;
    }
    [from, to] = [to, from];
  }
}

/**
 * A function that writes the power spectrum of one frame.
 * @returns `(frame, power)`: frame is [400] samples, already windowed, and is overwritten; power is [201]
 */
export function createPowerSpectrum(): (frame: Float64Array, power: Float64Array) => void {
  const spare = new Float64Array(FFT_SIZE);
  return (frame, power) => {
    // Even samples are real parts and odd ones imaginary parts, which is how the frame is stored already.
    transform(frame, spare);
    for (let bin = 0; bin <= POINTS; bin++) {
      const here = 2 * (bin % POINTS);
      const there = 2 * ((POINTS - bin) % POINTS);
      const hr = frame[here] ?? 0;
      const hi = frame[here + 1] ?? 0;
      const tr = frame[there] ?? 0;
      const ti = frame[there + 1] ?? 0;
      const evenRe = (hr + tr) / 2;
      const evenIm = (hi - ti) / 2;
      const oddRe = (hi + ti) / 2;
      const oddIm = (tr - hr) / 2;
      const wr = HALF_TURN[2 * bin] ?? 0;
      const wi = HALF_TURN[2 * bin + 1] ?? 0;
      const re = evenRe + oddRe * wr - oddIm * wi;
      const im = evenIm + oddRe * wi + oddIm * wr;
      power[bin] = re * re + im * im;
    }
  };
}
