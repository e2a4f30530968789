import { AvocadoError } from '../base/errors.ts';
import { MAX_AUDIO_SECONDS, MAX_SAMPLES, SAMPLE_RATE } from './audio-length.ts';
import { ffmpegVersion, runFfmpeg, type FfmpegOutcome } from './ffmpeg.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import type { AudioStream, MediaLimits, MediaPlan } from './types.ts';
import { WaveformBuilder } from './waveform-builder.ts';

export interface DecodeAudioOptions {
  readonly signal?: AbortSignal | undefined;
  readonly limits?: Partial<MediaLimits> | undefined;
}

export interface DecodedAudio {
  /** mono f32 at 16 kHz, at most 300 s; empty when nothing could be decoded beside a video */
  readonly waveform: Float32Array<ArrayBuffer>;
  readonly warnings: readonly string[];
  readonly decoderLog: readonly string[];
}

/** Containers that libsndfile reads: there librosa takes the samples as they are, elsewhere through ffmpeg as 16-bit integers. */
const SNDFILE_CONTAINERS = new Set(['wav', 'w64', 'aiff', 'flac', 'ogg', 'mp3']);

/**
 * Decodes the sound as `librosa.load(path, sr=16000)` does (reference-model 4.1): 16-bit at the native rate, mean over the
 * channels, soxr HQ to 16 kHz, the whole file from its first sample, no shift for a late start.
 * ffmpeg's libsoxr at its default 20 bits gives librosa's waveform bit for bit; a build without it falls back to swresample,
 * whose log-mel differs by up to 0.9 in the bands above 7.3 kHz (0.002 on average).
 * @throws AvocadoError `media_undecodable` when there is no video either, `media_timeout`, `aborted`
 */
export async function decodeAudio(plan: MediaPlan, options: DecodeAudioOptions = {}): Promise<DecodedAudio> {
  const stream = plan.probe.audio;
  if (stream === undefined || plan.audio === undefined)
    throw new Error('There is no sound to decode in this plan. This is a bug.');
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const waveform = new WaveformBuilder(MAX_SAMPLES);
  let nativeSamples: number | undefined;
  const outcome = await runFfmpeg({
    path: plan.probe.path,
    // astats reports at this level
    logLevel: 'info',
    outputOptions: [
      '-map',
      `0:${stream.index}`,
      '-filter:a',
      await filterChain(stream, plan.probe.container),
      '-c:a',
      'pcm_f32le',
      '-f',
      'f32le',
    ],
    maxPixels: limits.maxPixels,
    timeoutSeconds: limits.decodeTimeoutSeconds,
    signal: options.signal,
    onChunk: (chunk) => waveform.push(chunk),
    onLine: (line) => {
      nativeSamples = samplesOf(line) ?? nativeSamples;
    },
  });
  // The resampler rounds the length, the reference rounds it up and fills with silence.
  if (nativeSamples !== undefined && outcome.exitCode === 0)
    waveform.setLength(Math.ceil((nativeSamples * SAMPLE_RATE) / stream.sampleRate));
  const samples = waveform.take();
  return {
    waveform: samples,
    warnings: warningsOf(samples.length, waveform.overflowed, outcome, plan),
    decoderLog: outcome.log,
  };
}

/**
 * The mean over channels is a plain sum and a division, not ffmpeg's own downmix, which weighs them. The division is done in
 * double, so that it rounds as numpy's does (a product with 1/6 in single would not). astats only counts.
 */
async function filterChain(stream: AudioStream, container: string): Promise<string> {
  const { soxr } = await ffmpegVersion();
  const sum = Array.from({ length: stream.channels }, (_, channel) => `c${channel}`).join('+');
  const mean = [
    `pan=mono|c0=${sum}`,
    'aformat=sample_fmts=dbl',
    `volume=${1 / stream.channels}:precision=double`,
    'aformat=sample_fmts=flt',
  ];
  return [
    ...(SNDFILE_CONTAINERS.has(container) ? [] : ['aformat=sample_fmts=s16']),
    'aformat=sample_fmts=flt',
    ...(stream.channels === 1 ? [] : mean),
    'astats=measure_perchannel=none:measure_overall=Number_of_samples',
    `aresample=${SAMPLE_RATE}${soxr ? ':resampler=soxr' : ''}`,
  ].join(',');
}

function samplesOf(line: string): number | undefined {
  const count = /Number of samples: (\d+)/.exec(line)?.[1];
  return count === undefined ? undefined : Number(count);
}

function warningsOf(samples: number, overflowed: boolean, outcome: FfmpegOutcome, plan: MediaPlan): string[] {
  const last = outcome.log.at(-1);
  if (samples === 0) {
    if (plan.video === undefined)
      throw new AvocadoError(
        'media_undecodable',
        `The sound cannot be decoded${last === undefined ? '' : ` (${last})`}. Re-encode it.`,
      );
    return ['The sound could not be decoded; nothing was heard.'];
  }
  if (overflowed)
    return [
      `The sound is longer than ${MAX_AUDIO_SECONDS} s; only the first ${MAX_AUDIO_SECONDS} s were heard, as in the reference.`,
    ];
  return outcome.errors > 0
    ? [
        `The sound is damaged: the decoder met ${outcome.errors} errors; ${(samples / SAMPLE_RATE).toFixed(1)} s were heard.`,
      ]
    : [];
}
