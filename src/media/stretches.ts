// Sound whose sample rate, channels or sample format change on the way: adverts in a podcast, television that goes from
// 5.1 to stereo, joined files. ffmpeg builds a new filter graph at each change and loses what its filters held. So the
// graph only mixes (that keeps nothing), and what it says on stderr tells where it was built anew. Pure.
import { MAX_SAMPLES, SAMPLE_RATE, unheardReason } from './audio-length.ts';
import { resample } from './resample.ts';

/** Sound between two builds of ffmpeg's filter graph. */
export interface Stretch {
  /** Hz */
  readonly sampleRate: number;
  /** 0 until ffmpeg names them */
  channels: number;
  /** undefined until it ends */
  samples: number | undefined;
}

/** ffmpeg 5 to 8 print these under `-loglevel level+verbose`, in this order for each graph. */
const BUILT = /^\[graph_\d+_in_\S+ @ \S+\] \[verbose\] tb:\S+ samplefmt:\S+ samplerate:(\d+) chlayout:/;
const MIXED = /^\[Parsed_pan_\d+ @ \S+\] \[verbose\] o0 = (.*)$/;
const PLACED = /^\[Parsed_ashowinfo_\d+ @ \S+\] \[info\] n:\d+ pts:-?\d+ pts_time:(-?[\d.]+(?:e[-+]\d+)?) /;
const ENDED = /^\[Parsed_astats_\d+ @ \S+\] \[info\] Number of samples: (\d+)/;

/** Reads the stretches of a sound from ffmpeg's stderr. Needs the filters `pan`, with all channels, and `astats`. */
export class StretchReader {
  readonly stretches: Stretch[] = [];
  /** time of the first sample, as the filter `ashowinfo` tells it; undefined: not asked for */
  startSeconds: number | undefined;

  add(line: string): void {
    const built = BUILT.exec(line)?.[1];
    if (built !== undefined) {
      this.stretches.push({ sampleRate: Number(built), channels: 0, samples: undefined });
      return;
    }
    const mixed = MIXED.exec(line)?.[1];
    const last = this.stretches.at(-1);
    if (mixed !== undefined && last !== undefined) last.channels = mixed.split(' + ').length;
    if (this.startSeconds === undefined) {
      const placed = PLACED.exec(line)?.[1];
      if (placed !== undefined) this.startSeconds = Number(placed);
    }
    const ended = ENDED.exec(line)?.[1];
    const open = this.stretches.find(({ samples }) => samples === undefined);
    if (ended !== undefined && open !== undefined) open.samples = Number(ended);
  }

  /** How long the first so many samples of all stretches last. */
  seconds(samples: number): number {
    let left = samples;
    let seconds = 0;
    for (const stretch of this.stretches) {
      const count = Math.min(left, stretch.samples ?? left);
      seconds += count / stretch.sampleRate;
      left -= count;
    }
    return seconds;
  }
}

/** Full scale is 1. Even samples in the scale of 32-bit integers are below this; misread bytes are not. */
const LOUDEST = 2 ** 32;

/** Samples that are no sound: not finite, or beyond any scale. */
export function isWild(sample: number): boolean {
  return !(Math.abs(sample) <= LOUDEST);
}

export interface JoinedSound {
  /** mono f32 at 16 kHz, at most 300 s */
  readonly waveform: Float32Array<ArrayBuffer>;
  /** number of samples, at their own rates, that were no sound and became silence */
  readonly silenced: number;
  /** why a stretch was left out, as the end of a sentence */
  readonly unheard: string | undefined;
}

/**
 * All stretches at 16 kHz, one after the other.
 * @param sums of the channels at their own rates, all stretches; they are divided in place
 * @param lateSeconds of silence in front of them
 */
export function joinStretches(sums: Float32Array, stretches: readonly Stretch[], lateSeconds = 0): JoinedSound {
  let silenced = 0;
  let unheard: string | undefined;
  let seconds = lateSeconds;
  let length = Math.min(Math.round(lateSeconds * SAMPLE_RATE), MAX_SAMPLES);
  const pieces = [new Float32Array(length)];
  for (const { sampleRate, samples } of heardParts(sums, stretches)) {
    const reason = unheardReason(sampleRate, 1);
    if (reason !== undefined) {
      unheard = reason;
      continue;
    }
    for (let index = 0; index < samples.length; index++) {
      if (!isWild(samples[index] ?? 0)) continue;
      samples[index] = 0;
      silenced++;
    }
    seconds += samples.length / sampleRate;
    // Rounded up, as the reference does at the end of a sound. Nothing adds up: the time is exact.
    const end = Math.min(Math.ceil(seconds * SAMPLE_RATE - 1e-6), MAX_SAMPLES);
    pieces.push(resample(samples, sampleRate, end - length));
    length = end;
  }
  return { waveform: concatenated(pieces, length), silenced, unheard };
}

function concatenated(pieces: readonly Float32Array[], length: number): Float32Array<ArrayBuffer> {
  const whole = new Float32Array(length);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

interface Part {
  readonly sampleRate: number;
  readonly samples: Float32Array;
}

/** The mean of the channels of each stretch; neighbours of one rate are one part, so that no filter starts anew. */
function heardParts(sums: Float32Array, stretches: readonly Stretch[]): Part[] {
  const parts: Part[] = [];
  let from = 0;
  let start = 0;
  for (const [index, { sampleRate, channels, samples }] of stretches.entries()) {
    const isLast = index === stretches.length - 1;
    const to = isLast ? sums.length : Math.min(sums.length, from + (samples ?? 0));
    const scale = 1 / Math.max(1, channels);
    if (channels > 1) for (let at = from; at < to; at++) sums[at] = (sums[at] ?? 0) * scale;
    if (isLast || stretches[index + 1]?.sampleRate !== sampleRate) {
      parts.push({ sampleRate, samples: sums.subarray(start, to) });
      start = to;
    }
    from = to;
  }
  return parts;
}
