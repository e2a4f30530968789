import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { AvocadoError } from '../base/errors.ts';
import type { Hold } from '../base/foreground.ts';
import { MAX_AUDIO_SECONDS, MAX_CHANNELS, MAX_SAMPLES, SAMPLE_RATE } from './audio-length.ts';
import { ffmpegVersion, isErrorOf, runFfmpeg } from './ffmpeg.ts';
import type { ProcessOutcome } from './ffmpeg-process.ts';
import { LEAST_LATE_SECONDS, placeFilters, seekOptions, trimFilters } from './part.ts';
import { isWild, joinStretches, StretchReader, type JoinedSound } from './stretches.ts';
import { DEFAULT_LIMITS, type AudioStream, type MediaLimits, type MediaPlan, type MediaProbe } from './types.ts';

interface DecodeAudioOptions {
  readonly signal?: AbortSignal | undefined;
  readonly limits?: Partial<MediaLimits> | undefined;
  /** while it is held, no decoder runs */
  readonly hold?: Hold | undefined;
}

interface DecodedAudio {
  /** mono f32 at 16 kHz, at most 300 s; empty when the audio beside a video could not be decoded */
  readonly waveform: Float32Array<ArrayBuffer>;
  readonly warnings: readonly string[];
  readonly decoderLog: readonly string[];
}

/**
 * Containers that libsndfile reads. librosa takes their samples as they are, and all others as 16-bit integers from
 * ffmpeg.
 */
const SNDFILE_CONTAINERS = new Set(['wav', 'w64', 'aiff', 'flac', 'ogg', 'mp3']);

/** Memory for sound at its own rates, when they change: 300 s at 192 kHz. */
const MAX_NATIVE_SAMPLES = MAX_AUDIO_SECONDS * 192_000;

/** What a run of ffmpeg gave. */
interface HeardSound extends JoinedSound {
  /** more than is heard was there */
  readonly cut: boolean;
  readonly outcome: ProcessOutcome;
}

/**
 * Decodes the audio as `librosa.load(path, sr=16000)` does (reference-model.md, Waveform): 16-bit at the native rate,
 * mean of the channels, soxr HQ to 16 kHz, the whole file from its first sample, no shift for a late start. ffmpeg's
 * libsoxr at its default 20 bits gives librosa's waveform bit for bit. A build without it falls back to swresample,
 * whose log-mel differs by up to 0.9 in the bands above 7.3 kHz (0.002 on average).
 *
 * Sound that changes its form on the way, or holds samples that are no numbers, is decoded a second time, with our own
 * resampler; the reference cannot read it.
 * @throws AvocadoError `media_undecodable` when there is no video either, `media_timeout`, `engine_error`, `aborted`
 */
export async function decodeAudio(plan: MediaPlan, options: DecodeAudioOptions = {}): Promise<DecodedAudio> {
  const heard = (await decodeSteady(plan, options)) ?? (await decodeStretches(plan, options));
  const joined = await joinedWarning(plan.probe.path);
  const errors = await errorsOf(heard, plan);
  const warnings = [...warningsOf(heard, errors, plan), ...joined];
  return { waveform: heard.waveform, warnings, decoderLog: heard.outcome.log };
}

/** The reference's way. Undefined when the sound is not of one form, that of the probe, or not made of numbers. */
async function decodeSteady(plan: MediaPlan, options: DecodeAudioOptions): Promise<HeardSound | undefined> {
  const stream = soundOf(plan);
  const waveform = new WaveformBuilder(MAX_SAMPLES);
  const reader = new StretchReader();
  const unsteady = new AbortController();
  let outcome: ProcessOutcome;
  try {
    outcome = await runFilters(plan, await steadyFilters(stream, plan.probe), {
      ...options,
      // A filter graph for another rate may take gigabytes: ffmpeg ends before it is made.
      signal: AbortSignal.any([unsteady.signal, ...(options.signal === undefined ? [] : [options.signal])]),
      onChunk: (chunk) => waveform.push(chunk),
      onLine: (line) => {
        reader.add(line);
        const [first, second] = reader.stretches;
        const others = first !== undefined && first.channels !== 0 && first.channels !== stream.channels;
        if (second !== undefined || others || NOT_FINITE.test(line)) unsteady.abort();
      },
    });
  } catch (error) {
    if (unsteady.signal.aborted && options.signal?.aborted !== true) return undefined;
    throw error;
  }
  const [whole] = reader.stretches;
  // The resampler rounds the length to the nearest sample; the reference rounds it up and fills with silence.
  if (whole?.samples !== undefined && outcome.exitCode === 0)
    waveform.setLength(Math.ceil((whole.samples * SAMPLE_RATE) / whole.sampleRate));
  const samples = waveform.take();
  if (unsteady.signal.aborted || samples.some(isWild)) return undefined;
  return { waveform: samples, silenced: 0, unheard: undefined, cut: waveform.overflowed, outcome };
}

/** ffmpeg only mixes, and the stretches between its changes are resampled here. */
async function decodeStretches(plan: MediaPlan, options: DecodeAudioOptions): Promise<HeardSound> {
  const sums = new WaveformBuilder(MAX_NATIVE_SAMPLES);
  const reader = new StretchReader();
  const isLong = (): boolean => reader.seconds(sums.length) > MAX_AUDIO_SECONDS;
  const outcome = await runFilters(plan, stretchFilters(soundOf(plan), plan.probe), {
    ...options,
    onChunk: (chunk) => (sums.push(chunk) === 'enough' || isLong() ? 'enough' : 'more'),
    onLine: (line) => {
      reader.add(line);
    },
  });
  const { startSeconds: late = 0 } = reader;
  const lateSeconds = sums.length === 0 || late < LEAST_LATE_SECONDS ? 0 : late;
  return { ...joinStretches(sums.take(), reader.stretches, lateSeconds), cut: sums.overflowed || isLong(), outcome };
}

function soundOf(plan: MediaPlan): AudioStream {
  const stream = plan.probe.audio;
  if (stream === undefined || plan.audio === undefined) throw new Error('This plan has no audio. This is a bug.');
  return stream;
}

async function runFilters(
  plan: MediaPlan,
  filters: readonly string[],
  run: DecodeAudioOptions & Pick<Parameters<typeof runFfmpeg>[0], 'onChunk' | 'onLine'>,
): Promise<ProcessOutcome> {
  const limits = { ...DEFAULT_LIMITS, ...run.limits };
  let errors = 0;
  const map = `0:${soundOf(plan).index}`;
  const outcome = await runFfmpeg({
    path: plan.probe.path,
    // the level at which StretchReader's lines are printed
    logLevel: 'verbose',
    inputOptions: seekOptions(plan.probe, true, 'sound'),
    outputOptions: [
      '-map',
      map,
      '-filter:a',
      [...trimFilters('atrim', plan.probe.part?.samples), ...filters].join(','),
      '-c:a',
      'pcm_f32le',
      '-f',
      'f32le',
    ],
    maxPixels: limits.maxPixels,
    timeoutSeconds: limits.decodeTimeoutSeconds,
    signal: run.signal,
    hold: run.hold,
    onChunk: run.onChunk,
    onLine: (line) => {
      if (isErrorOf(line, soundOf(plan).codec, plan.probe.codecs)) errors++;
      run.onLine?.(line);
    },
  });
  return { ...outcome, errors };
}

/** A plain sum of the channels, of as many as there are. ffmpeg's own downmix weights them. */
const SUM = [
  'aformat=sample_fmts=flt',
  `pan=mono|c0=${Array.from({ length: MAX_CHANNELS }, (_, channel) => `c${channel}`).join('+')}`,
];
const COUNT_SAMPLES = 'astats=measure_perchannel=none:measure_overall=Number_of_samples';
const COUNT_WILD = 'astats=measure_perchannel=none:measure_overall=Number_of_NaNs+Number_of_Infs';
const NOT_FINITE = /\[info\] Number of (NaNs|Infs): .*[1-9]/;

/**
 * The mean is the sum and a division in double precision, so that it rounds as numpy's does; in single precision, a
 * product with 1/6 would not.
 */
async function steadyFilters(stream: AudioStream, { container, part }: MediaProbe): Promise<string[]> {
  const { soxr } = await ffmpegVersion();
  const divide = [
    'aformat=sample_fmts=dbl',
    `volume=${1 / stream.channels}:precision=double`,
    'aformat=sample_fmts=flt',
  ];
  const integers = isFloat(stream) ? [COUNT_WILD, 'aformat=sample_fmts=s16'] : ['aformat=sample_fmts=s16'];
  return [
    ...(SNDFILE_CONTAINERS.has(container) ? [] : integers),
    ...SUM,
    ...(stream.channels === 1 ? [] : divide),
    ...placeFilters(part),
    COUNT_SAMPLES,
    `aresample=${SAMPLE_RATE}${soxr ? ':resampler=soxr' : ''}`,
    // Times that jump back would be errors of the output, which has none.
    'asetpts=N/SR/TB',
  ];
}

/** Every stretch is called 16 kHz: ffmpeg would resample all to the rate of the first. */
function stretchFilters(stream: AudioStream, { container, part }: MediaProbe): string[] {
  const [times] = placeFilters(part);
  const integers = SNDFILE_CONTAINERS.has(container) || isFloat(stream) ? [] : ['aformat=sample_fmts=s16'];
  // Gaps are left out here: a filter that fills them would begin anew with every stretch.
  const told = times === undefined ? [] : [times, 'ashowinfo'];
  return [...told, ...integers, ...SUM, `asetrate=${SAMPLE_RATE}`, COUNT_SAMPLES, 'asetpts=NAN'];
}

/** Its samples may be no numbers; as 16-bit integers they would be clicks. */
function isFloat(stream: AudioStream): boolean {
  return stream.codec.startsWith('pcm_f');
}

/** WAV and AIFF say their own length. Files that were joined byte by byte are heard up to the first one's end. */
async function joinedWarning(path: string): Promise<string[]> {
  const file = await open(path).catch(() => undefined);
  if (file === undefined) return [];
  try {
    const head = Buffer.alloc(8);
    await file.read(head, 0, 8, 0);
    const kind = head.toString('latin1', 0, 4);
    if (kind !== 'RIFF' && kind !== 'FORM') return [];
    const next = Buffer.alloc(4);
    await file.read(next, 0, 4, 8 + (kind === 'RIFF' ? head.readUInt32LE(4) : head.readUInt32BE(4)));
    if (next.toString('latin1') !== kind) return [];
    return ['The file holds another file behind its end; only the first was heard. Join them with ffmpeg.'];
  } finally {
    await file.close();
  }
}

/** Lines of ffmpeg's log about one packet that is no frame. */
const LINES_PER_TAG = 2;

/** Errors that tell of damage. MP3s that were joined byte by byte hold tags, which the decoder takes for packets. */
async function errorsOf({ outcome: { errors } }: HeardSound, { probe }: MediaPlan): Promise<number> {
  if (errors === 0 || probe.container !== 'mp3') return errors;
  return Math.max(0, errors - LINES_PER_TAG * (await tagsInside(probe.path)));
}

/** ID3 tags behind the beginning of a file. */
async function tagsInside(path: string): Promise<number> {
  let tags = 0;
  let rest = '';
  for await (const bytes of createReadStream(path, { start: 3, highWaterMark: 1 << 20 })) {
    const text = rest + (bytes as Buffer).toString('latin1');
    tags += text.match(/ID3[\x02-\x04]\0|TAG/g)?.length ?? 0;
    rest = /(?:I|ID|ID3|ID3.|T|TA)$/s.exec(text)?.[0] ?? '';
  }
  return tags;
}

function warningsOf(
  { waveform, silenced, unheard, cut, outcome }: HeardSound,
  errors: number,
  plan: MediaPlan,
): string[] {
  if (waveform.length === 0) {
    // A part may lie in a gap of the sound.
    const isGap = plan.probe.part !== undefined && outcome.exitCode === 0 && outcome.errors === 0;
    if (isGap && plan.video !== undefined) return [];
    if (isGap) throw new AvocadoError('media_too_short', 'This part of the file holds no sound. Give a longer part.');
    if (plan.video !== undefined) return ['The sound could not be decoded; nothing was heard.'];
    const last = outcome.log.at(-1);
    const reason = last === undefined ? '' : ` (${last})`;
    throw new AvocadoError('media_undecodable', `The sound cannot be decoded${reason}. Re-encode it.`);
  }
  const warnings: string[] = [];
  const seconds = (waveform.length / SAMPLE_RATE).toFixed(1);
  if (silenced > 0)
    warnings.push(`The sound is damaged: ${silenced} samples are no numbers or far too loud; they became silence.`);
  if (unheard !== undefined) warnings.push(`A part of the sound was not heard: it ${unheard}.`);
  if (cut) {
    const most = `${Math.round(waveform.length / SAMPLE_RATE)} s`;
    warnings.push(`The sound is longer than ${most}; only the first ${most} were heard, as in the reference.`);
  } else if (errors > 0)
    warnings.push(`The sound is damaged: the decoder met ${errors} errors; ${seconds} s were heard.`);
  return warnings;
}

const FIRST_SAMPLES = 1 << 20;

/** Collects little-endian f32 samples, up to a limit, from byte chunks that may split a sample. */
export class WaveformBuilder {
  readonly #limit: number;
  #bytes = new Uint8Array(FIRST_SAMPLES * 4);
  #length = 0;
  #overflowed = false;

  constructor(limitSamples: number) {
    this.#limit = limitSamples * 4;
  }

  /** true when more samples came than the limit allows */
  get overflowed(): boolean {
    return this.#overflowed;
  }

  /** samples so far */
  get length(): number {
    return Math.floor(this.#length / 4);
  }

  push(chunk: Uint8Array): 'more' | 'enough' {
    const take = Math.min(chunk.length, this.#limit - this.#length);
    this.#reserve(this.#length + take);
    this.#bytes.set(chunk.subarray(0, take), this.#length);
    this.#length += take;
    this.#overflowed = take < chunk.length;
    return this.#overflowed ? 'enough' : 'more';
  }

  /** Cuts the waveform, or fills it up with silence. */
  setLength(samples: number): void {
    const bytes = Math.min(samples * 4, this.#limit);
    this.#reserve(bytes);
    this.#bytes.fill(0, Math.min(this.#length, bytes), bytes);
    this.#length = bytes;
  }

  /** A copy of the samples. */
  take(): Float32Array<ArrayBuffer> {
    return new Float32Array(this.#bytes.buffer.slice(0, this.#length - (this.#length % 4)));
  }

  #reserve(bytes: number): void {
    if (bytes <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(bytes, this.#bytes.length * 2));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}
