// A part of a file as if it had been the file. Pure: it turns what is known of a file into what is known of its part.
import { AvocadoError } from '../base/errors.ts';
import { checkVideo } from './probe.ts';
import { tooFewFrames } from './sampling.ts';
import type { AudioStream, Bounds, MediaPart, MediaProbe, PartRequest, VideoStream } from './types.ts';

/** ffprobe prints microseconds; a time may be half of one off. */
const TIME_ERROR = 1e-6;
/** An `end` that is so little after the file's is the file's: players show rounded lengths. */
const END_SLACK_SECONDS = 1;

/** The clock of a file: its frames in seconds from where the file starts. */
export interface FileClock {
  /** the container's time where the file starts */
  readonly zero: number;
  /** seconds from there, ascending */
  readonly frameTimes: Float64Array;
  /** false: the packets do not tell; the frames are spread evenly */
  readonly isTold: boolean;
  readonly durationSeconds: number;
}

/** @param probe one that keeps times */
export function clockOf({ video, audio, durationSeconds }: MediaProbe): FileClock {
  const told = video?.frameTimes;
  const starts = [told?.[0], video === undefined || told !== undefined ? audio?.startSeconds : undefined];
  const zero = Math.min(...starts.filter((start) => start !== undefined));
  if (video === undefined)
    return { zero, frameTimes: new Float64Array(), isTold: Number.isFinite(zero), durationSeconds };
  if (told !== undefined) {
    const frameTimes = told.map((time) => time - zero);
    const last = frameTimes.at(-1) ?? 0;
    const usual = video.averageFps > 0 ? 1 / video.averageFps : 0;
    const interval = last - (frameTimes.at(-2) ?? -Infinity);
    const lasting = 2 * interval < usual ? interval : usual; // a gap makes the average rate low
    const soundEnd = audio?.startSeconds === undefined ? 0 : soundSpan(audio, zero).to;
    return { zero, frameTimes, isTold: true, durationSeconds: Math.max(last + lasting, soundEnd) };
  }
  const frameTimes = Float64Array.from({ length: video.totalFrames }, (_, frame) => frame / video.averageFps);
  return { zero: 0, frameTimes, isTold: false, durationSeconds };
}

/** Where the sound begins and ends, in seconds from where the file starts. */
export function soundSpan({ startSeconds, endSeconds, durationSeconds }: AudioStream, zero: number): Interval {
  const from = startSeconds === undefined ? 0 : startSeconds - zero;
  return { from, to: endSeconds === undefined ? from + durationSeconds : endSeconds - zero };
}

interface Interval {
  readonly from: number;
  readonly to: number;
}

/**
 * What is known of a part of a file.
 * @param probe of the whole file, one that keeps times
 * @throws AvocadoError `bad_request` for a part that is none of the file's, `media_too_short` for one that holds
 *   neither two frames nor sound, and as checkVideo
 */
export function partOf(probe: MediaProbe, request: PartRequest): MediaProbe {
  if (probe.video?.still === true) throw refused('start', 'A picture has no parts: leave start and end out.');
  const { start, end } = request;
  for (const [name, value] of [
    ['start', start],
    ['end', end],
  ] as const) {
    if (value !== undefined && !(value >= 0 && value < Infinity))
      throw refused(name, `${name} must be a number of seconds of at least 0, not ${value}.`);
  }
  if (start !== undefined && end !== undefined && start >= end)
    throw refused('end', `The part ends at ${end} s, which is not after its start at ${start} s. Give a later end.`);
  const part = request.rule === 'time' ? partByTime(probe, request) : partByReference(probe, request);
  checkVideo(part);
  const { video, audio } = part;
  if (audio === undefined && video !== undefined && video.totalFrames < 2) throw tooFewFrames(video.totalFrames);
  if (audio === undefined && video === undefined) {
    const { start: from, end: to } = part.part ?? { start: 0, end: 0 };
    const where = `from ${seconds(from)} to ${seconds(to)}`;
    throw new AvocadoError('media_too_short', `The file holds no frame and no sound ${where}. Give a longer part.`);
  }
  return part;
}

function refused(param: string, sentence: string): AvocadoError {
  return new AvocadoError('bad_request', sentence, { param });
}

function seconds(value: number): string {
  return `${Number(value.toFixed(3))} s`;
}

function partByTime(probe: MediaProbe, { start = 0, end = Infinity }: PartRequest): MediaProbe {
  const clock = clockOf(probe);
  const { durationSeconds, frameTimes } = clock;
  if (start >= durationSeconds)
    throw refused('start', `The part starts at ${seconds(start)}, and the file ends at ${seconds(durationSeconds)}.`);
  if (end !== Infinity && end > durationSeconds + END_SLACK_SECONDS)
    throw refused('end', `The part ends at ${seconds(end)}, and the file ends at ${seconds(durationSeconds)}.`);
  const first = firstAtOrAfter(frameTimes, start);
  const next = firstAtOrAfter(frameTimes, end);
  const stop = Math.min(end, durationSeconds);
  const frames = clock.isTold ? timeBounds(clock, first, next) : frameBounds(first, next, frameTimes.length);
  const samples = soundBounds(probe, clock, start, end);
  const soundFrom = samples.unit === 'seconds' ? clock.zero + start : undefined;
  const part: MediaPart = { start, end: stop, frames, samples, soundFrom, seekTo: undefined };
  const seekTo = clock.isTold && start > 0 && SEEKABLE.test(probe.container) ? start + clock.zero : undefined;
  return {
    ...probe,
    durationSeconds: stop - start,
    video: probe.video && videoPart(probe.video, frameTimes.subarray(first, next), first, { start, end: stop }),
    audio: probe.audio && soundPart(clock.isTold ? probe.audio : untimed(probe.audio), clock, start, stop),
    part: {
      ...part,
      seekTo,
      ...(seekTo === undefined ? {} : { keyTime: keyTimeAt(probe.video, first), firstKey: probe.video?.keyTimes?.[0] }),
    },
  };
}

/** Two key frames so close, in seconds, may be taken for each other when a decoder jumps to one. */
const KEYS_APART = 0.2;

/** Time of a frame that is a key frame, by its number. */
function keyTimeAt(video: VideoStream | undefined, frame: number): number | undefined {
  const { frameTimes, keyTimes } = video ?? {};
  const time = frameTimes?.[frame];
  if (time === undefined || keyTimes === undefined) return undefined;
  const at = firstAtOrAfter(keyTimes, time);
  const isKey = Math.abs((keyTimes[at] ?? Infinity) - time) <= TIME_ERROR;
  return isKey && !((keyTimes[at + 1] ?? Infinity) - time < KEYS_APART) ? time : undefined;
}

/** Containers in which a jump by time is exact, or lands before. */
const SEEKABLE = /\b(mov|matroska|wav|mpegts)\b/;

/** First index whose time is not before `time`. */
export function firstAtOrAfter(times: Float64Array, time: number): number {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((times[middle] ?? 0) < time - TIME_ERROR) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Between frames: a decoder may round times otherwise than the packets do. */
function timeBounds({ zero, frameTimes }: FileClock, first: number, next: number): Bounds {
  const between = (index: number): number | undefined => {
    const [before, after] = [frameTimes[index - 1], frameTimes[index]];
    return before === undefined || after === undefined ? undefined : zero + (before + after) / 2;
  };
  return { unit: 'seconds', from: between(first), to: between(next) };
}

function frameBounds(first: number, next: number, total: number): Bounds {
  return { unit: 'frames', from: first === 0 ? undefined : first, to: next >= total ? undefined : next };
}

function soundBounds({ audio }: MediaProbe, { zero, isTold }: FileClock, start: number, end: number): Bounds {
  const isTimed = isTold && audio?.startSeconds !== undefined;
  const place = (time: number): number | undefined => {
    if (time === Infinity || time === 0) return undefined;
    return isTimed ? zero + time : Math.round(time * (audio?.sampleRate ?? 0));
  };
  return { unit: isTimed ? 'seconds' : 'samples', from: place(start), to: place(end) };
}

/** Tracks begin so far apart in many files, and nobody notices; the reference shifts nothing. */
export const LEAST_LATE_SECONDS = 0.1;

/** A rate that differs by less is the container's. */
const EQUAL_RATES = 0.01;

/** Undefined where the part has no frame. */
function videoPart(
  stream: VideoStream,
  times: Float64Array,
  first: number,
  { start, end }: Pick<MediaPart, 'start' | 'end'>,
): VideoStream | undefined {
  if (times.length === 0) return undefined;
  const durationSeconds = end - start;
  const late = (times[0] ?? 0) - start;
  const lateSeconds = late < LEAST_LATE_SECONDS ? undefined : late;
  const span = (times.at(-1) ?? 0) - (times[0] ?? 0);
  const measured = times.length > 1 && span > 0 ? (times.length - 1) / span : stream.averageFps;
  const isEqual = Math.abs(measured / stream.averageFps - 1) < EQUAL_RATES;
  return {
    ...stream,
    frameTimes: undefined,
    frameBytes: undefined,
    keyTimes: undefined,
    averageFps: isEqual ? stream.averageFps : times.length / Math.max(durationSeconds - (lateSeconds ?? 0), span),
    totalFrames: times.length,
    lostAtStart: first === 0 ? stream.lostAtStart : 0,
    durationSeconds,
    lateSeconds,
    // only differences count here
    framesSpan: [times[0] ?? 0, times.at(-1) ?? 0],
  };
}

/** It begins where the file does. */
function untimed(stream: AudioStream): AudioStream {
  return { ...stream, startSeconds: undefined, endSeconds: undefined };
}

/** Undefined where the part has no sound. */
function soundPart(stream: AudioStream, { zero }: FileClock, start: number, end: number): AudioStream | undefined {
  if (stream.durationSeconds === 0) return stream; // nothing tells how long it is
  const { from, to } = soundSpan(stream, zero);
  if (Math.min(end, to) <= Math.max(start, from)) return undefined;
  // Silence stands for what is missing in front.
  const begins = from - start < LEAST_LATE_SECONDS ? Math.max(start, from) : start;
  return { ...stream, durationSeconds: Math.min(end, to) - begins };
}

/**
 * qwen-omni-utils 0.0.8, `calculate_video_frame_range` and `process_audio_info`: frames by number at the average rate,
 * both ends included; sound by librosa's offset and duration.
 */
function partByReference(probe: MediaProbe, { start, end }: PartRequest): MediaProbe {
  const { video, audio } = probe;
  const total = video?.totalFrames ?? 0;
  const fps = video?.averageFps ?? 1;
  const frameAt = (time: number, round: (value: number) => number): number =>
    round(Math.max(0, Math.min(time, total / fps)) * fps);
  const first = start === undefined ? 0 : frameAt(start, Math.ceil);
  const last = end === undefined ? total - 1 : Math.min(frameAt(end, Math.floor), total - 1);
  if (video !== undefined && first >= last)
    throw refused(
      'start',
      `No two frames of the video lie in this part; it has ${total} at ${fps.toFixed(3)} a second.`,
    );
  const begins = start ?? 0;
  const stop = Math.min(end ?? Infinity, probe.durationSeconds);
  // libsndfile cuts samples off where librosa's other reader rounds.
  const toSamples = SNDFILE.test(probe.container) ? Math.trunc : Math.round;
  const rate = audio?.sampleRate ?? 0;
  const from = toSamples(begins * rate);
  const samples: Bounds = {
    unit: 'samples',
    from: from === 0 ? undefined : from,
    to: end === undefined ? undefined : from + toSamples((end - begins) * rate),
  };
  const frames = frameBounds(first, last + 1, total);
  const clock = { zero: 0, frameTimes: new Float64Array(), isTold: false, durationSeconds: probe.durationSeconds };
  const fromFirstSample = audio && untimed(audio);
  const times = Float64Array.from({ length: last + 1 - first }, (_, frame) => (first + frame) / fps);
  return {
    ...probe,
    durationSeconds: Math.max(0, stop - begins),
    video: video && videoPart(video, times, first, { start: first / fps, end: (last + 1) / fps }),
    audio: fromFirstSample && soundPart(fromFirstSample, clock, begins, stop),
    part: { start: begins, end: stop, frames, samples, seekTo: undefined },
  };
}

const SNDFILE = /^(wav|w64|aiff|flac|ogg|mp3)$/;

/** A decoder needs sound from before the part: codecs mix neighbouring packets. */
const SOUND_LEAD_SECONDS = 1;
/** A jump in a transport stream may land between two key frames. */
const STREAM_LEAD_SECONDS = 10;

/** A jump to a key frame asks for a little more: where an index is by decoding time, ffmpeg takes 3/23 s off. */
const KEY_LAG_SECONDS = [
  [/\bmov\b/, 0.001],
  [/\bmatroska\b/, 0.14],
] as const;

/**
 * Options of ffmpeg's input that keep the container's times, and jump close to the part: for pictures to its key frame,
 * where it begins with one, so that nothing is decoded in vain.
 */
export function seekOptions({ container, part }: MediaProbe, seeks: boolean, track: 'pictures' | 'sound'): string[] {
  if (part === undefined) return [];
  const { seekTo, keyTime, firstKey = -Infinity } = part;
  if (!seeks || seekTo === undefined) return ['-copyts'];
  const lead = /\bmpegts\b/.test(container) ? STREAM_LEAD_SECONDS : SOUND_LEAD_SECONDS;
  const lag = KEY_LAG_SECONDS.find(([kind]) => kind.test(container))?.[1];
  const isExact = track === 'pictures' && keyTime !== undefined && lag !== undefined;
  const place = isExact ? keyTime + lag : seekTo - lead;
  // ffmpeg jumps by the pictures, in every track: sound in front of the first one would be lost.
  if (track === 'sound' && place < firstKey) return ['-copyts'];
  return ['-copyts', '-seek_timestamp', '1', '-noaccurate_seek', '-ss', place.toFixed(6)];
}

/**
 * Filters that put sound of a part where it is heard: times count from the start of the part, and silence stands for
 * what is missing in front and in gaps. None where the reference's rule counts: it knows no gaps.
 */
export function placeFilters(part: MediaPart | undefined): [times: string, silence: string] | [] {
  if (part?.soundFrom === undefined) return [];
  const least = LEAST_LATE_SECONDS;
  return [
    `asetpts=PTS-${part.soundFrom.toFixed(6)}/TB`,
    `aresample=async=1:min_comp=${least}:min_hard_comp=${least}:first_pts=0`,
  ];
}

/** The filter that lets only the part through, and ends the decoding after it. None for a whole file. */
export function trimFilters(name: 'trim' | 'atrim', bounds: Bounds | undefined): string[] {
  if (bounds === undefined) return [];
  const { unit, from, to } = bounds;
  const suffix = { seconds: '', frames: '_frame', samples: '_sample' }[unit];
  const text = (value: number): string => (unit === 'seconds' ? value.toFixed(6) : String(value));
  const options = [
    ...(from === undefined ? [] : [`start${suffix}=${text(from)}`]),
    ...(to === undefined ? [] : [`end${suffix}=${text(to)}`]),
  ];
  return options.length === 0 ? [] : [`${name}=${options.join(':')}`];
}
